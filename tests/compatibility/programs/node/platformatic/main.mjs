// @platformatic/kafka, all capabilities that it has.

import {
  Admin, ConfigResourceTypes, Consumer, Producer, stringDeserializers, stringSerializers
} from '@platformatic/kafka'
import { check, checkEqual, checkOnceInOrder, numbered, pause, share, tell, until } from './telling.mjs'

const base = bootstrap => ({ clientId: 'compatibility', bootstrapBrokers: bootstrap, retries: 10, retryDelay: 500 })

async function withClient (client, use) {
  try {
    return await use(client)
  } finally {
    await (client instanceof Admin ? client.close() : client.close(true))
  }
}

const withProducer = (bootstrap, options, use) =>
  withClient(new Producer({ ...base(bootstrap), serializers: stringSerializers, ...options }), use)

const withAdmin = (bootstrap, use) => withClient(new Admin(base(bootstrap)), use)

const produce = (bootstrap, topic, values, options = {}) => withProducer(bootstrap, options, producer =>
  producer.send({ acks: -1, messages: values.map((value, number) => ({ topic, key: `key-${number % 10}`, value })) }))

// So many records from the start, in a group of its own, and none after them within half a second.
async function read (bootstrap, topic, count, options = {}) {
  const settings = { groupId: `${topic}-${Math.random()}`, deserializers: stringDeserializers, autocommit: false }
  return withClient(new Consumer({ ...base(bootstrap), ...settings, ...options }), async consumer => {
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest', maxWaitTime: 250 })
    const records = []
    stream.on('data', record => records.push(record))
    stream.on('error', () => {})
    await until(() => records.length >= count, `${count} records are read`)
    await pause(500)
    checkEqual(records.length, count, 'records')
    return records
  })
}

const valuesOf = records => records.map(record => record.value)

async function produceConsume (bootstrap, name) {
  const sent = numbered('value', 100)
  await produce(bootstrap, name, sent)
  checkOnceInOrder(await read(bootstrap, name, 100), sent)
}

async function headers (bootstrap, name) {
  const sent = new Map([['trace', 'abc'], ['kind', 'zweites ü']])
  await withProducer(bootstrap, {}, producer =>
    producer.send({ acks: -1, messages: [{ topic: name, value: 'value', headers: sent }] }))
  const [{ headers: found }] = await read(bootstrap, name, 1)
  checkEqual([...found], [...sent], 'headers')
  return 'headers are a map: one value a name'
}

async function compression (bootstrap, name) {
  const codecs = ['gzip', 'snappy', 'lz4', 'zstd']
  const sent = []
  for (const codec of codecs) {
    const values = numbered(`${codec}-${'x'.repeat(200)}`, 50)
    await produce(bootstrap, name, values, { compression: codec })
    sent.push(...values)
  }
  checkEqual(valuesOf(await read(bootstrap, name, 200)), sent, 'values')
  return codecs.join(', ')
}

async function idempotence (bootstrap, name) {
  const sent = numbered('value', 300)
  await withProducer(bootstrap, { idempotent: true }, async producer => {
    for (let begin = 0; begin < 300; begin += 10) {
      await producer.send({ acks: -1, messages: sent.slice(begin, begin + 10).map(value => ({ topic: name, value })) })
    }
  })
  checkEqual(valuesOf(await read(bootstrap, name, 300)), sent, 'values')
}

async function member (bootstrap, name, options) {
  const settings = { groupId: name, deserializers: stringDeserializers, autocommit: false, ...options }
  const consumer = new Consumer({ ...base(bootstrap), ...settings })
  const read = []
  const ends = new Map()
  const stream = await consumer.consume({ topics: [name], mode: 'committed', fallbackMode: 'earliest', maxWaitTime: 250 })
  stream.on('error', () => {})
  stream.on('data', record => {
    read.push(record.value)
    ends.set(record.partition, record.offset + 1n)
  })
  const partitions = () => (consumer.assignments ?? []).filter(({ topic }) => topic === name).flatMap(found => found.partitions)
  const offsets = () => [...ends].filter(([partition]) => partitions().includes(partition))
    .map(([partition, offset]) => ({ topic: name, partition, offset, leaderEpoch: -1 }))
  const commit = () => consumer.commit({ offsets: offsets() })
  return { read, partitions, commit, close: () => consumer.close(true) }
}

const group = options => (bootstrap, name) => share(() => member(bootstrap, name, options), values =>
  withProducer(bootstrap, {}, producer => producer.send({
    acks: -1, messages: values.map((value, number) => ({ topic: name, value, partition: number % 3 }))
  })))

async function transactions (bootstrap, name) {
  await withProducer(bootstrap, { idempotent: true, transactionalId: `${name}-id` }, async producer => {
    for (let number = 0; number < 3; number++) {
      const transaction = await producer.beginTransaction()
      const messages = Array.from({ length: 10 }, () => ({ topic: name, value: `transaction-${number}` }))
      await transaction.send({ messages })
      await (number === 1 ? transaction.abort() : transaction.commit())
    }
  })
  const committed = valuesOf(await read(bootstrap, name, 20, { isolationLevel: 1 }))
  check(!committed.includes('transaction-1'), 'aborted data was read')
  await read(bootstrap, name, 30, { isolationLevel: 0 })
  return 'without a group\'s offsets'
}

const partitionsOf = async (admin, topic) =>
  (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic)?.partitionsCount

async function setting (admin, topic) {
  const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys: ['retention.ms'] }]
  const [{ configs: [{ value, configSource }] }] = await admin.describeConfigs({ resources })
  return [value, configSource]
}

// The names of Kafka's errors, wherever the client has put them.
function namesIn (error) {
  return [error?.apiId, ...(error?.errors ?? []).flatMap(namesIn), ...(error?.cause ? namesIn(error.cause) : [])]
}

const adminTopics = (bootstrap, name) => withAdmin(bootstrap, async admin => {
  const wanted = { topics: [name], partitions: 2, replicas: 3, configs: [{ name: 'retention.ms', value: '123456' }] }
  const [made] = await admin.createTopics(wanted)
  checkEqual([made.name, made.partitions, made.replicas], [name, 2, 3], 'the answer')
  await until(async () => (await admin.listTopics()).includes(name), 'it is listed')
  checkEqual((await setting(admin, name))[0], '123456', 'retention.ms')
  const again = await admin.createTopics(wanted).catch(error => error)
  check(namesIn(again).includes('TOPIC_ALREADY_EXISTS'), `a second one: ${namesIn(again)}`)
  await admin.deleteTopics({ topics: [name] })
  await until(async () => !(await admin.listTopics()).includes(name), 'it is gone')
})

const adminConfigs = (bootstrap, name) => withAdmin(bootstrap, async admin => {
  checkEqual(await setting(admin, name), ['604800000', 5], 'before')
  const configs = [{ name: 'retention.ms', configOperation: 0, value: '3600000' }]
  const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: name, configs }]
  await admin.incrementalAlterConfigs({ resources })
  await until(async () => JSON.stringify(await setting(admin, name)) === '["3600000",1]', 'the new value shows')
})

const adminPartitions = (bootstrap, name) => withAdmin(bootstrap, async admin => {
  await admin.createPartitions({ topics: [{ name, count: 4 }] })
  await until(async () => await partitionsOf(admin, name) === 4, '4 partitions')
  const shrunk = await admin.createPartitions({ topics: [{ name, count: 2 }] }).catch(error => error)
  check(namesIn(shrunk).includes('INVALID_PARTITIONS'), `fewer: ${namesIn(shrunk)}`)
})

async function offsetsByTime (bootstrap, name) {
  const firstMs = Date.now() - 60_000
  await withProducer(bootstrap, {}, async producer => {
    for (let number = 0; number < 10; number++) {
      const timestamp = BigInt(firstMs + 1000 * number)
      await producer.send({ acks: -1, messages: [{ topic: name, value: `${number}`, timestamp }] })
    }
  })
  await withAdmin(bootstrap, async admin => {
    for (const [afterMs, expected] of [[4_500, [5, 5_000]], [20_000, [-1, -1 - firstMs]]]) {
      const partitions = [{ partitionIndex: 0, timestamp: BigInt(firstMs + afterMs) }]
      const [{ partitions: [{ offset, timestamp }] }] = await admin.listOffsets({ topics: [{ name, partitions }] })
      checkEqual([Number(offset), Number(timestamp) - firstMs], expected, `offset and time ${afterMs} ms after the first`)
    }
  })
}

async function deleteRecords (bootstrap, name) {
  await produce(bootstrap, name, numbered('value', 10))
  await withAdmin(bootstrap, async admin => {
    const [{ partitions: [{ lowWatermark }] }] = await admin.deleteRecords({
      topics: [{ name, partitions: [{ partition: 0, offset: 4n }] }]
    })
    checkEqual(Number(lowWatermark), 4, 'the answer')
  })
  checkEqual((await read(bootstrap, name, 6)).map(record => Number(record.offset)), [4, 5, 6, 7, 8, 9], 'offsets')
}

await tell({
  'produce-consume': produceConsume,
  headers,
  compression,
  idempotence,
  'group-eager': group({ heartbeatInterval: 500, sessionTimeout: 20_000 }),
  'group-consumer': group({ groupProtocol: 'consumer' }),
  transactions,
  'admin-topics': adminTopics,
  'admin-configs': adminConfigs,
  'admin-partitions': adminPartitions,
  'offsets-by-time': offsetsByTime,
  'delete-records': deleteRecords
})
