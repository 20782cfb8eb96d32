//! rdkafka for Rust, all capabilities.

mod members;
mod telling;

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_executor::block_on;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use members::{return_as_static, share, Member};
use telling::{check, check_equal, numbered, tell, until, Attempt, Failure, Told, PATIENCE};

type Options<'a> = &'a [(&'a str, &'a str)];

const CLASSIC: Options<'static> = &[("heartbeat.interval.ms", "500"), ("session.timeout.ms", "20000")];

fn main() {
    let attempts: &[(&str, Attempt)] = &[
        ("produce-consume", produce_consume),
        ("headers", headers),
        ("compression", compression),
        ("idempotence", idempotence),
        ("group-eager", |bootstrap, name| {
            group(bootstrap, name, "partition.assignment.strategy", "range")
        }),
        ("group-cooperative", |bootstrap, name| {
            group(bootstrap, name, "partition.assignment.strategy", "cooperative-sticky")
        }),
        ("group-static", group_static),
        ("group-consumer", |bootstrap, name| {
            group(bootstrap, name, "group.protocol", "consumer")
        }),
        ("transactions", transactions),
        ("admin-topics", admin_topics),
        ("admin-configs", admin_configs),
        ("admin-partitions", admin_partitions),
        ("offsets-by-time", offsets_by_time),
        ("delete-records", delete_records),
    ];
    tell(attempts);
}

fn produce_consume(bootstrap: &str, name: &str) -> Told {
    let sent = numbered("value", 100);
    produce(bootstrap, name, &sent, &[("acks", "all")])?;
    let records = read(bootstrap, name, 100, 3, "read_committed")?;
    let mut found = values(&records);
    found.sort();
    check_equal(found, sent, "values")?;
    for partition in 0..3 {
        let of: Vec<OwnedMessage> = records
            .iter()
            .filter(|record| record.partition() == partition)
            .cloned()
            .collect();
        check(
            values(&of).is_sorted(),
            format!("partition {partition} is not in order"),
        )?;
    }
    Ok(String::new())
}

fn headers(bootstrap: &str, name: &str) -> Told {
    let sent: [(&str, &[u8]); 3] = [
        ("trace", &[0, 255]),
        ("kind", b"first"),
        ("kind", "zweites ü".as_bytes()),
    ];
    let headers = sent.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
        all.insert(Header {
            key,
            value: Some(*value),
        })
    });
    let producer = producer(bootstrap, &[])?;
    let record: BaseRecord<'_, (), str> = BaseRecord::to(name).payload("value").headers(headers);
    producer.send(record).map_err(|(error, _)| error)?;
    producer.flush(PATIENCE)?;
    let records = read(bootstrap, name, 1, 1, "read_committed")?;
    let found = records[0].headers().ok_or("no headers")?;
    let found: Vec<(&str, &[u8])> = found
        .iter()
        .map(|header| (header.key, header.value.unwrap_or_default()))
        .collect();
    check_equal(found, sent.to_vec(), "headers")?;
    Ok(String::new())
}

fn compression(bootstrap: &str, name: &str) -> Told {
    let mut sent = Vec::new();
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let batch = numbered(&format!("{codec}-{}", "x".repeat(200)), 50);
        produce(
            bootstrap,
            name,
            &batch,
            &[("compression.type", codec), ("linger.ms", "20")],
        )?;
        sent.extend(batch);
    }
    check_equal(
        values(&read(bootstrap, name, 200, 1, "read_committed")?),
        sent,
        "values",
    )?;
    Ok("gzip, snappy, lz4, zstd".into())
}

fn idempotence(bootstrap: &str, name: &str) -> Told {
    let sent = numbered("value", 300);
    produce(
        bootstrap,
        name,
        &sent,
        &[("enable.idempotence", "true"), ("batch.num.messages", "10")],
    )?;
    check_equal(
        values(&read(bootstrap, name, 300, 1, "read_committed")?),
        sent,
        "values",
    )?;
    Ok(String::new())
}

fn group(bootstrap: &str, name: &str, option: &str, value: &str) -> Told {
    let mut options = vec![(option, value)];
    if option != "group.protocol" {
        options.extend(CLASSIC);
    }
    share(
        || Member::join(bootstrap, name, &options),
        |values| produce(bootstrap, name, values, &[("sticky.partitioning.linger.ms", "0")]),
    )
}

fn group_static(bootstrap: &str, name: &str) -> Told {
    return_as_static(|instance| {
        let mut options = vec![("group.instance.id", instance)];
        options.extend(CLASSIC);
        Member::join(bootstrap, name, &options)
    })
}

fn transactions(bootstrap: &str, name: &str) -> Told {
    let id = format!("{name}-id");
    let producer = producer(bootstrap, &[("transactional.id", &id)])?;
    let consumer = consumer(bootstrap, name, "read_committed")?;
    producer.init_transactions(PATIENCE)?;
    for number in 0..3 {
        producer.begin_transaction()?;
        for _ in 0..10 {
            let value = format!("transaction-{number}");
            let record: BaseRecord<'_, (), str> = BaseRecord::to(name).partition(0).payload(&value);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        if number == 1 {
            producer.flush(PATIENCE)?;
            producer.abort_transaction(PATIENCE)?;
            continue;
        }
        if number == 2 {
            let metadata = consumer.group_metadata().ok_or("no group metadata")?;
            producer.send_offsets_to_transaction(&at(name, Offset::Offset(7))?, &metadata, PATIENCE)?;
        }
        producer.commit_transaction(PATIENCE)?;
    }
    let committed = values(&read(bootstrap, name, 20, 1, "read_committed")?);
    check(
        !committed.contains(&"transaction-1".to_string()),
        "aborted data was read",
    )?;
    read(bootstrap, name, 30, 1, "read_uncommitted")?;
    let found = consumer.committed_offsets(at(name, Offset::Invalid)?, PATIENCE)?;
    check_equal(found.elements()[0].offset(), Offset::Offset(7), "the group's offset")?;
    Ok(String::new())
}

fn admin_topics(bootstrap: &str, name: &str) -> Told {
    let admin = admin(bootstrap)?;
    let wanted = NewTopic::new(name, 2, TopicReplication::Fixed(3)).set("retention.ms", "123456");
    let create = || block_on(admin.create_topics([&wanted], &AdminOptions::new()));
    one(create()?)?;
    until(|| Ok(partitions_of(&admin, name)? == 2), "it is listed")?;
    until(
        || Ok(setting(&admin, name)?.0 == "123456"),
        "retention.ms is as it was made",
    )?;
    refused(create()?, RDKafkaErrorCode::TopicAlreadyExists)?;
    one(block_on(admin.delete_topics(&[name], &AdminOptions::new()))?)?;
    until(|| Ok(partitions_of(&admin, name)? == 0), "it is gone")?;
    Ok(String::new())
}

fn admin_configs(bootstrap: &str, name: &str) -> Told {
    let admin = admin(bootstrap)?;
    check_equal(setting(&admin, name)?, ("604800000".into(), "Default".into()), "before")?;
    let change = AlterConfig {
        specifier: ResourceSpecifier::Topic(name),
        entries: HashMap::from([("retention.ms", "3600000")]),
    };
    block_on(admin.alter_configs([&change], &AdminOptions::new()))?
        .remove(0)
        .map_err(|(_, code)| code)?;
    until(
        || Ok(setting(&admin, name)? == ("3600000".into(), "DynamicTopic".into())),
        "the new value shows",
    )?;
    Ok("AlterConfigs, which replaces all of a topic's settings".into())
}

fn admin_partitions(bootstrap: &str, name: &str) -> Told {
    let admin = admin(bootstrap)?;
    let grow = |count| block_on(admin.create_partitions([&NewPartitions::new(name, count)], &AdminOptions::new()));
    one(grow(4)?)?;
    until(|| Ok(partitions_of(&admin, name)? == 4), "4 partitions")?;
    refused(grow(2)?, RDKafkaErrorCode::InvalidPartitions)?;
    Ok(String::new())
}

fn offsets_by_time(bootstrap: &str, name: &str) -> Told {
    let first_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64 - 60_000;
    let producer = producer(bootstrap, &[])?;
    for number in 0..10 {
        let record: BaseRecord<'_, (), str> = BaseRecord::to(name)
            .payload("value")
            .timestamp(first_ms + 1000 * number);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    producer.flush(PATIENCE)?;
    let consumer = consumer(bootstrap, name, "read_committed")?;
    for (after_ms, expected) in [(4_500, Offset::Offset(5)), (20_000, Offset::End)] {
        let found = consumer.offsets_for_times(at(name, Offset::Offset(first_ms + after_ms))?, PATIENCE)?;
        check_equal(found.elements()[0].offset(), expected, "the offset")?;
    }
    Ok(String::new())
}

fn delete_records(bootstrap: &str, name: &str) -> Told {
    produce(bootstrap, name, &numbered("value", 10), &[("acks", "all")])?;
    let before = at(name, Offset::Offset(4))?;
    let deleted = block_on(admin(bootstrap)?.delete_records(&before, &AdminOptions::new()))?;
    check_equal(deleted.elements()[0].offset(), Offset::Offset(4), "the answer")?;
    let offsets: Vec<i64> = read(bootstrap, name, 6, 1, "read_committed")?
        .iter()
        .map(Message::offset)
        .collect();
    check_equal(offsets, vec![4, 5, 6, 7, 8, 9], "offsets")?;
    Ok(String::new())
}

// --- how

fn config(bootstrap: &str, options: Options<'_>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (option, value) in options {
        config.set(*option, *value);
    }
    config
}

fn producer(bootstrap: &str, options: Options<'_>) -> Result<ThreadedProducer<DefaultProducerContext>, Failure> {
    Ok(config(bootstrap, options).create()?)
}

fn consumer(bootstrap: &str, group: &str, isolation: &str) -> Result<BaseConsumer, Failure> {
    let options = [
        ("group.id", group),
        ("isolation.level", isolation),
        ("enable.auto.commit", "false"),
    ];
    Ok(config(bootstrap, &options).create()?)
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>, Failure> {
    Ok(config(bootstrap, &[]).create()?)
}

fn produce(bootstrap: &str, topic: &str, values: &[String], options: Options<'_>) -> Result<(), Failure> {
    let producer = producer(bootstrap, options)?;
    for value in values {
        let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).payload(value);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(PATIENCE)?)
}

/// So many records from the start, and none after them within half a second.
fn read(
    bootstrap: &str,
    topic: &str,
    count: usize,
    partitions: i32,
    isolation: &str,
) -> Result<Vec<OwnedMessage>, Failure> {
    let consumer = consumer(bootstrap, "unused", isolation)?;
    let mut from = TopicPartitionList::new();
    for partition in 0..partitions {
        from.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&from)?;
    let mut records = Vec::new();
    let mut poll = |timeout_ms| {
        let found = consumer.poll(Duration::from_millis(timeout_ms));
        records.extend(found.and_then(Result::ok).map(|message| message.detach()));
        records.len()
    };
    until(|| Ok(poll(250) >= count), &format!("{count} records are read"))?;
    check_equal(poll(500), count, "records")?;
    Ok(records)
}

fn values(records: &[OwnedMessage]) -> Vec<String> {
    let payloads = records.iter().map(|record| record.payload().unwrap_or_default());
    payloads
        .map(|payload| String::from_utf8_lossy(payload).into_owned())
        .collect()
}

fn at(topic: &str, offset: Offset) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, offset)?;
    Ok(list)
}

fn partitions_of(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<usize, Failure> {
    let metadata = admin.inner().fetch_metadata(None, PATIENCE)?;
    Ok(metadata
        .topics()
        .iter()
        .find(|found| found.name() == topic)
        .map_or(0, |found| found.partitions().len()))
}

/// retention.ms and where its value comes from.
fn setting(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<(String, String), Failure> {
    let described =
        block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()))?.remove(0)?;
    let found = described.get("retention.ms"); // none where this broker has not heard of the topic yet
    Ok(found.map_or_else(Default::default, |entry| {
        (entry.value.clone().unwrap_or_default(), format!("{:?}", entry.source))
    }))
}

type Answers = Vec<Result<String, (String, RDKafkaErrorCode)>>;

fn one(mut answers: Answers) -> Result<String, Failure> {
    Ok(answers.remove(0).map_err(|(_, code)| code)?)
}

fn refused(mut answers: Answers, expected: RDKafkaErrorCode) -> Result<(), Failure> {
    match answers.remove(0) {
        Err((_, code)) => check_equal(code, expected, "the refusal"),
        Ok(_) => Err("it was not refused".into()),
    }
}
