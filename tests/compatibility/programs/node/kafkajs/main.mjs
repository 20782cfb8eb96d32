// KafkaJS, all capabilities that it has.

import kafkajs from 'kafkajs'
import { PATIENCE_MS, check, checkEqual, checkOnceInOrder, numbered, pause, share, tell, until } from './telling.mjs'

const { CompressionTypes, ConfigResourceTypes, Kafka, Partitioners, logLevel } = kafkajs

const kafkaOf = bootstrap => new Kafka({ clientId: 'compatibility', brokers: bootstrap, logLevel: logLevel.ERROR })

async function withProducer (bootstrap, options, use) {
  const producer = kafkaOf(bootstrap).producer({ createPartitioner: Partitioners.DefaultPartitioner, ...options })
  await producer.connect()
  try {
    return await use(producer)
  } finally {
    await producer.disconnect()
  }
}

const produce = (bootstrap, topic, values, options = {}, send = {}) => withProducer(bootstrap, options, producer =>
  producer.send({ topic, acks: -1, messages: values.map(value => ({ value })), ...send }))

// So many records from the start, in a group of its own, and none after them within half a second.
async function read (bootstrap, topic, count, options = {}) {
  const consumer = kafkaOf(bootstrap).consumer({ groupId: `${topic}-${Math.random()}`, ...options })
  const records = []
  await consumer.connect()
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        records.push({ partition, offset: Number(message.offset), value: String(message.value), headers: message.headers })
      }
    })
    await until(() => records.length >= count, `${count} records are read`)
    await pause(500)
    checkEqual(records.length, count, 'records')
    return records
  } finally {
    await consumer.disconnect()
  }
}

async function produceConsume (bootstrap, name) {
  const sent = numbered('value', 100)
  await withProducer(bootstrap, {}, producer => producer.send({
    topic: name, acks: -1, messages: sent.map((value, number) => ({ key: `key-${number % 10}`, value }))
  }))
  checkOnceInOrder(await read(bootstrap, name, 100), sent)
}

async function headers (bootstrap, name) {
  const sent = { trace: Buffer.from([0, 255]), kind: ['first', 'zweites ü'] }
  await withProducer(bootstrap, {}, producer => producer.send({ topic: name, messages: [{ value: 'v', headers: sent }] }))
  const [{ headers: found }] = await read(bootstrap, name, 1)
  checkEqual([...found.trace], [0, 255], 'a header that is not text')
  checkEqual(found.kind.map(String), sent.kind, 'a name with two values')
}

async function compression (bootstrap, name) {
  const sent = numbered('x'.repeat(200), 50)
  await produce(bootstrap, name, sent, {}, { compression: CompressionTypes.GZIP })
  checkEqual((await read(bootstrap, name, 50)).map(record => record.value), sent, 'values')
  return 'gzip; the others are plugins'
}

async function idempotence (bootstrap, name) {
  const sent = numbered('value', 300)
  await withProducer(bootstrap, { idempotent: true, maxInFlightRequests: 1 }, async producer => {
    for (let begin = 0; begin < 300; begin += 10) {
      await producer.send({ topic: name, acks: -1, messages: sent.slice(begin, begin + 10).map(value => ({ value })) })
    }
  })
  checkEqual((await read(bootstrap, name, 300)).map(record => record.value), sent, 'values')
}

async function member (bootstrap, name) {
  const consumer = kafkaOf(bootstrap).consumer({ groupId: name, heartbeatInterval: 500, sessionTimeout: 20_000 })
  const ends = new Map()
  const read = []
  let partitions = []
  await consumer.connect()
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { partitions = payload.memberAssignment[name] ?? [] })
  consumer.on(consumer.events.REBALANCING, () => { partitions = [] })
  await consumer.subscribe({ topics: [name], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      read.push(String(message.value))
      ends.set(partition, Number(message.offset) + 1)
    }
  })
  const committed = () => [...ends].filter(([partition]) => partitions.includes(partition))
    .map(([partition, offset]) => ({ topic: name, partition, offset: String(offset) }))
  return {
    read,
    partitions: () => partitions,
    commit: () => consumer.commitOffsets(committed()),
    close: () => consumer.disconnect()
  }
}

const groupEager = (bootstrap, name) => share(() => member(bootstrap, name), values =>
  withProducer(bootstrap, {}, producer => producer.send({
    topic: name, acks: -1, messages: values.map((value, number) => ({ value, partition: number % 3 }))
  })))

async function transactions (bootstrap, name) {
  const options = { transactionalId: `${name}-id`, maxInFlightRequests: 1, idempotent: true }
  await withProducer(bootstrap, options, async producer => {
    for (let number = 0; number < 3; number++) {
      const transaction = await producer.transaction()
      const messages = Array.from({ length: 10 }, () => ({ value: `transaction-${number}` }))
      await transaction.send({ topic: name, messages })
      if (number === 1) {
        await transaction.abort()
        continue
      }
      if (number === 2) {
        const topics = [{ topic: name, partitions: [{ partition: 0, offset: '7' }] }]
        await transaction.sendOffsets({ consumerGroupId: name, topics })
      }
      await transaction.commit()
    }
  })
  const committed = await read(bootstrap, name, 20)
  check(!committed.some(record => record.value === 'transaction-1'), 'aborted data was read')
  await read(bootstrap, name, 30, { readUncommitted: true })
  await withAdmin(bootstrap, async admin => {
    const look = async () => (await admin.fetchOffsets({ groupId: name, topics: [name] }))[0].partitions[0].offset === '7'
    await until(look, "the group's offset is 7")
  })
}

async function withAdmin (bootstrap, use) {
  const admin = kafkaOf(bootstrap).admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

const partitionsOf = async (admin, topic) => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions

async function setting (admin, topic) {
  const resources = [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }]
  const { configValue, configSource } = (await admin.describeConfigs({ resources })).resources[0].configEntries[0]
  return [configValue, configSource]
}

const adminTopics = (bootstrap, name) => withAdmin(bootstrap, async admin => {
  const configEntries = [{ name: 'retention.ms', value: '123456' }]
  const wanted = { topics: [{ topic: name, numPartitions: 2, replicationFactor: 3, configEntries }], timeout: PATIENCE_MS }
  checkEqual(await admin.createTopics(wanted), true, 'made')
  await until(async () => (await admin.listTopics()).includes(name), 'it is listed')
  checkEqual((await partitionsOf(admin, name)).map(partition => partition.replicas.length), [3, 3], 'replicas')
  checkEqual((await setting(admin, name))[0], '123456', 'retention.ms')
  checkEqual(await admin.createTopics(wanted), false, 'made a second time')
  await admin.deleteTopics({ topics: [name] })
  await until(async () => !(await admin.listTopics()).includes(name), 'it is gone')
})

const adminConfigs = (bootstrap, name) => withAdmin(bootstrap, async admin => {
  checkEqual(await setting(admin, name), ['604800000', 5], 'before')
  const configEntries = [{ name: 'retention.ms', value: '3600000' }]
  const resources = [{ type: ConfigResourceTypes.TOPIC, name, configEntries }]
  await admin.alterConfigs({ resources })
  await until(async () => (await setting(admin, name))[0] === '3600000', 'the new value shows')
})

const adminPartitions = (bootstrap, name) => withAdmin(bootstrap, async admin => {
  await admin.createPartitions({ topicPartitions: [{ topic: name, count: 4 }] })
  await until(async () => (await partitionsOf(admin, name)).length === 4, '4 partitions')
  const shrunk = await admin.createPartitions({ topicPartitions: [{ topic: name, count: 2 }] }).catch(error => error)
  check(shrunk?.type === 'INVALID_PARTITIONS' || shrunk?.errors?.[0]?.type === 'INVALID_PARTITIONS', `fewer: ${shrunk}`)
})

async function offsetsByTime (bootstrap, name) {
  const firstMs = Date.now() - 60_000
  await withProducer(bootstrap, {}, async producer => {
    for (let number = 0; number < 10; number++) {
      const timestamp = String(firstMs + 1000 * number)
      await producer.send({ topic: name, acks: -1, messages: [{ value: `${number}`, timestamp }] })
    }
    // The largest timestamp in the batch's header is that of the first: KafkaJS leaves out those that it sets itself.
    const messages = [{ value: '10', timestamp: String(firstMs + 10_000) }, { value: '11' }]
    await producer.send({ topic: name, acks: -1, messages })
  })
  await withAdmin(bootstrap, async admin => {
    const offsets = async ms => (await admin.fetchTopicOffsetsByTimestamp(name, ms))[0].offset
    checkEqual(await offsets(firstMs + 4_500), '5', 'offset')
    checkEqual(await offsets(firstMs + 20_000), '11', 'of a record that KafkaJS stamped')
    checkEqual(await offsets(Date.now() + 60_000), '12', 'where none is, the end') // as KafkaJS tells it
  })
}

async function deleteRecords (bootstrap, name) {
  await produce(bootstrap, name, numbered('value', 10))
  await withAdmin(bootstrap, async admin => {
    checkEqual((await admin.fetchTopicOffsets(name))[0].high, '10', 'the end') // and the topic's metadata is loaded
    await admin.deleteTopicRecords({ topic: name, partitions: [{ partition: 0, offset: '4' }] })
    await until(async () => (await admin.fetchTopicOffsets(name))[0].low === '4', 'the earliest offset is 4')
  })
  checkEqual((await read(bootstrap, name, 6)).map(record => record.offset), [4, 5, 6, 7, 8, 9], 'offsets')
}

await tell({
  'produce-consume': produceConsume,
  headers,
  compression,
  idempotence,
  'group-eager': groupEager,
  transactions,
  'admin-topics': adminTopics,
  'admin-configs': adminConfigs,
  'admin-partitions': adminPartitions,
  'offsets-by-time': offsetsByTime,
  'delete-records': deleteRecords
})
