// The JavaScript side of the line protocol, and what members of a group have to do.

export const PATIENCE_MS = 60_000

// Attempts by capability: each takes the bootstrap addresses and the name of topic and group, and returns a note.
export async function tell (attempts) {
  const [bootstrap, run, ...capabilities] = process.argv.slice(2)
  for (const capability of capabilities) {
    let word = 'passed'
    let note
    try {
      note = await attempts[capability](bootstrap.split(','), `${run}-${capability}`)
    } catch (error) { // whatever it is, it is the answer
      word = 'failed'
      note = `${error?.name}: ${error?.message} ${(error?.errors ?? []).map(String).join('; ')}`
    }
    console.log(['case', capability, word, (note ?? '').replaceAll(/\s+/g, ' ')].join('\t'))
  }
  process.exit(0)
}

export function check (holds, message) {
  if (!holds) throw new Error(message)
}

export function checkEqual (found, expected, what) {
  const [was, should] = [JSON.stringify(found) ?? 'nothing', JSON.stringify(expected)]
  check(was === should, `${what}: ${was.slice(0, 150)} instead of ${should.slice(0, 150)}`)
}

export const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

export async function until (done, what) {
  const deadline = Date.now() + PATIENCE_MS
  while (!await done()) {
    check(Date.now() < deadline, `not within ${PATIENCE_MS / 1000} s: ${what}`)
    await pause(50)
  }
}

export const numbered = (name, count) => Array.from({ length: count }, (_, number) => `${name}-${String(number).padStart(5, '0')}`)

// Two members share the partitions; one leaves, the other takes over. A member has `read` (values), `partitions()`,
// `commit()` and `close()`.
export async function share (make, produce) {
  const [first, second] = await Promise.all([make(), make()])
  const early = numbered('early', 90)
  const late = numbered('late', 30)
  try {
    await until(() => bothHaveTheirs(first, second), 'both have their partitions')
    await produce(early)
    await until(() => includesAll([...first.read, ...second.read], early), 'all 90 are read')
    await first.commit()
    await second.commit()
  } finally {
    await second.close()
  }
  const read = first.read.length + second.read.length
  first.read.length = 0
  try {
    await until(() => first.partitions().length === 3, 'the other takes over')
    await produce(late)
    await until(() => includesAll(first.read, late), 'all 30 are read')
    check(!first.read.some(value => early.includes(value)), 'what was committed was read again')
  } finally {
    await first.close()
  }
  const repeats = read + first.read.length - 120
  return repeats > 0 ? `${repeats} repeated` : ''
}

function bothHaveTheirs (first, second) {
  const [mine, yours] = [first.partitions(), second.partitions()]
  const together = [...mine, ...yours].sort()
  return mine.length > 0 && yours.length > 0 && JSON.stringify(together) === '[0,1,2]'
}

function includesAll (found, wanted) {
  const seen = new Set(found)
  return wanted.every(value => seen.has(value))
}

// Records are { partition, offset, value }.
export function checkOnceInOrder (records, sent) {
  checkEqual(records.map(record => record.value).sort(), [...sent].sort(), 'values')
  for (const partition of new Set(records.map(record => record.partition))) {
    const values = records.filter(record => record.partition === partition).map(record => record.value)
    checkEqual(values, [...values].sort(), `order in partition ${partition}`)
  }
}
