"""Apache Kafka's own command-line tools, by the options that people's fingers know."""

import json
import os
import re
from pathlib import Path

from tests.compatibility.cache import Cache, tool
from tests.compatibility.clients.commands import CommandCase, Commands
from tests.compatibility.workshop import Workshop, expect, expect_equal, lines

KAFKA_VERSION = "4.3.1"  # programs/java/kafka-4.xml
TOOLS = "org.apache.kafka.tools"


class Java:
    """Starts a class with Kafka's jars."""

    def __init__(self, java: str, class_path: str) -> None:
        self._java = java
        self._class_path = class_path

    def command(self, main: str, *arguments: str | Path) -> list[str]:
        quick = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        return [self._java, *quick, level, "-cp", self._class_path, main, *map(str, arguments)]

    def run(self, shop: Workshop, main: str, *arguments: str | Path, input: str = "", code: int = 0) -> str:
        """A tool of the cluster's, to its end."""
        to = () if "--bootstrap-server" in arguments else ("--bootstrap-server", shop.bootstrap)
        return shop.run(*self.command(main, *to, *arguments), input=input, code=code)


def with_kafka_jars(cache: Cache) -> Java:
    return Java(tool("java"), f"{cache.jars('kafka-4')}{os.sep}*")


def produce(shop: Workshop, java: Java, topic: str, text: str, *options: str) -> None:
    java.run(shop, f"{TOOLS}.ConsoleProducer", "--topic", topic, *options, input=text)


def consume(shop: Workshop, java: Java, topic: str, count: int, *options: str) -> list[str]:
    """What the console consumer prints of so many records: its last lines, after notices of what is deprecated."""
    printed = java.run(
        shop,
        f"{TOOLS}.consumer.ConsoleConsumer",
        *("--topic", topic, "--max-messages", str(count), "--timeout-ms", "60000"),
        *options,
    )
    return [line for line in lines(printed) if not line.startswith("Processed a total")][-count:]


def topics(shop: Workshop, java: Java) -> None:
    def command(*arguments: str, code: int = 0) -> str:
        return java.run(shop, f"{TOOLS}.TopicCommand", *arguments, code=code)

    name = shop.name
    create = ("--create", "--topic", name, "--partitions", "2", "--replication-factor", "3")
    expect(command(*create, "--config", "retention.ms=123456"), f"Created topic {name}")
    shop.wait(lambda: name in lines(command("--list")), "it is listed")
    shown = command("--describe", "--topic", name)
    expect(shown, "PartitionCount: 2", "ReplicationFactor: 3", "retention.ms=123456", "Partition: 1")
    expect(command(*create, code=1), "TopicExistsException")
    command("--alter", "--topic", name, "--partitions", "4")
    shop.wait(lambda: "PartitionCount: 4" in command("--describe", "--topic", name), "4 partitions")
    expect(command("--alter", "--topic", name, "--partitions", "3", code=1), "InvalidPartitionsException")
    expect_equal(lines(command("--describe", "--unavailable-partitions")), [], "unavailable partitions")
    command("--delete", "--topic", name)
    shop.wait(lambda: name not in lines(command("--list")), "it is gone")


def console(shop: Workshop, java: Java) -> None:
    topic = shop.topic(1)
    parse = ("--property", "parse.key=true", "--property", "key.separator=:")
    produce(shop, java, topic, "a:one\nb:two\nc:three\n", *parse, "--compression-codec", "lz4")
    shown = ("--property", "print.key=true", "--property", "key.separator=:", "--property", "print.offset=true")
    expected = ["Offset:0:a:one", "Offset:1:b:two", "Offset:2:c:three"]
    expect_equal(consume(shop, java, topic, 3, "--from-beginning", *shown), expected, "from the beginning")
    by_offset = ("--partition", "0", "--offset", "1")
    expect_equal(consume(shop, java, topic, 2, *by_offset), ["two", "three"], "from an offset")


def console_headers(shop: Workshop, java: Java) -> None:
    topic = shop.topic(1)
    produce(shop, java, topic, "h1:v1,h2:v2\tvalue\n", "--property", "parse.headers=true", "--sync")
    shown = ("--from-beginning", "--property", "print.headers=true", "--isolation-level", "read_committed")
    expect_equal(consume(shop, java, topic, 1, *shown), ["h1:v1,h2:v2\tvalue"], "what is printed")


def consumer_groups(shop: Workshop, java: Java) -> None:
    def command(*arguments: str, code: int = 0) -> str:
        return java.run(shop, f"{TOOLS}.consumer.group.ConsumerGroupCommand", *arguments, code=code)

    topic, group = shop.topic(1), f"{shop.name}-group"
    produce(shop, java, topic, "".join(f"{number}\n" for number in range(10)))
    consume(shop, java, topic, 10, "--group", group, "--from-beginning")
    expect(command("--list"), group)
    shop.wait(lambda: "Empty" in command("--describe", "--group", group, "--state"), "the group is empty")
    expect_equal(_committed(command("--describe", "--group", group), topic), ("10", "10", "0"), "offset, end, lag")
    reset = ("--reset-offsets", "--group", group, "--topic", topic)
    command(*reset, "--to-offset", "4", "--dry-run")
    expect_equal(_committed(command("--describe", "--group", group), topic)[0], "10", "after the dry run")
    command(*reset, "--to-offset", "4", "--execute")
    expect_equal(_committed(command("--describe", "--group", group), topic), ("4", "10", "6"), "after the reset")
    command(*reset, "--shift-by", "-2", "--execute")
    expect_equal(_committed(command("--describe", "--group", group), topic)[0], "2", "after the shift")
    command("--delete-offsets", "--group", group, "--topic", topic)
    expect(command("--delete", "--group", group), "was successful")
    shop.wait(lambda: group not in command("--list"), "it is gone")


def group_members(shop: Workshop, java: Java) -> None:
    """A member of each kind of group, while it lives."""
    topic = shop.topic(3)
    for protocol in ("classic", "consumer"):
        group = f"{shop.name}-{protocol}"
        member = java.command(
            f"{TOOLS}.consumer.ConsoleConsumer",
            *("--bootstrap-server", shop.bootstrap, "--topic", topic, "--group", group),
            *("--consumer-property", f"group.protocol={protocol}", "--consumer-property", "client.id=somebody"),
        )
        with shop.background(*member):

            def shown(what: str, group: str = group) -> str:
                command = f"{TOOLS}.consumer.group.ConsumerGroupCommand"
                return java.run(shop, command, "--describe", "--group", group, what, "--verbose")

            shop.wait(lambda: "Stable" in shown("--state"), f"the {protocol} group is stable")
            expect(shown("--members"), "somebody", topic)
        shop.wait(lambda: "Empty" in shown("--state"), f"the {protocol} group is empty")


def _committed(described: str, topic: str) -> tuple[str, str, str]:
    """Offset, end and lag of the first partition, as `--describe` prints them."""
    row = next(line.split() for line in lines(described) if f" {topic} " in f" {line} ")
    at = row.index(topic)
    return row[at + 2], row[at + 3], row[at + 4]


def configs(shop: Workshop, java: Java) -> None:
    def command(*arguments: str) -> str:
        return java.run(shop, "kafka.admin.ConfigCommand", *arguments)

    topic = ("--entity-type", "topics", "--entity-name", shop.topic(1))
    command("--alter", *topic, "--add-config", "retention.ms=3600000,cleanup.policy=[compact,delete]")
    shop.wait(lambda: "retention.ms=3600000" in command("--describe", *topic), "the value shows")
    expect(command("--describe", *topic), "cleanup.policy=compact,delete", "DYNAMIC_TOPIC_CONFIG:retention.ms=3600000")
    command("--alter", *topic, "--delete-config", "retention.ms,cleanup.policy")
    shop.wait(lambda: "retention.ms=3600000" not in command("--describe", *topic), "it is the default again")
    expect(command("--describe", *topic, "--all"), "retention.ms=604800000", "DEFAULT_CONFIG:")


def broker_configs(shop: Workshop, java: Java) -> None:
    def command(*arguments: str) -> str:
        return java.run(shop, "kafka.admin.ConfigCommand", *arguments)

    node, every = ("--entity-type", "brokers", "--entity-name", "1"), ("--entity-type", "brokers", "--entity-default")
    expect(command("--describe", *node, "--all"), "node.id=1", "min.insync.replicas=2", "STATIC_BROKER_CONFIG:")
    command("--alter", *every, "--add-config", "log.retention.ms=7200000")
    shop.wait(lambda: "log.retention.ms=7200000" in command("--describe", *every), "the value shows")
    expect(command("--describe", *node, "--all"), "DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=7200000")
    command("--alter", *every, "--delete-config", "log.retention.ms")
    shop.wait(lambda: "log.retention.ms=7200000" not in command("--describe", *every), "it is gone")


def producer_performance(shop: Workshop, java: Java) -> str:
    arguments = ("--topic", shop.topic(3), "--num-records", "5000", "--record-size", "1000", "--throughput", "-1")
    properties = ("--producer-props", f"bootstrap.servers={shop.bootstrap}", "acks=all", "--print-metrics")
    shown = shop.run(*java.command(f"{TOOLS}.ProducerPerformance", *arguments, *properties))
    expect(shown, "5000 records sent", "producer-metrics:record-send-total")
    return _sentence(shown, r"5000 records sent, ([\d.]+ records/sec)")


def consumer_performance(shop: Workshop, java: Java) -> None:
    topic = shop.topic(3)
    made = ("--topic", topic, "--num-records", "5000", "--record-size", "1000", "--throughput", "-1")
    properties = ("--producer-props", f"bootstrap.servers={shop.bootstrap}")
    shop.run(*java.command(f"{TOOLS}.ProducerPerformance", *made, *properties))
    read = ("--topic", topic, "--messages", "5000", "--group", f"{shop.name}-group", "--print-metrics")
    shown = java.run(shop, f"{TOOLS}.ConsumerPerformance", *read)
    row = next(line.split(", ") for line in lines(shown) if re.match(r"\d{4}-", line))
    expect_equal(row[4], "5000", "records read")


def end_to_end_latency(shop: Workshop, java: Java) -> str:
    arguments = ("--topic", shop.topic(1), "--num-records", "200", "--producer-acks", "all", "--record-size", "100")
    shown = java.run(shop, f"{TOOLS}.EndToEndLatency", *arguments)
    expect(shown, "Avg latency", "Percentiles")
    return _sentence(shown, r"Avg latency: ([\d.]+ ms)")


def _sentence(shown: str, pattern: str) -> str:
    found = re.findall(pattern, shown)
    if not found:
        raise AssertionError(f"no {pattern!r} in: {shown[-200:]}")
    return str(found[-1])


def verifiable(shop: Workshop, java: Java) -> None:
    topic = shop.topic(3)
    sent = java.run(shop, f"{TOOLS}.VerifiableProducer", "--topic", topic, "--max-messages", "300", "--acks", "-1")
    outcome = [json.loads(line) for line in lines(sent) if line.startswith("{")]
    summary = next(row for row in outcome if row["name"] == "tool_data")
    expect_equal((summary["sent"], summary["acked"]), (300, 300), "sent and acknowledged")
    read = ("--topic", topic, "--group-id", f"{shop.name}-group", "--max-messages", "300", "--reset-policy", "earliest")
    events = [json.loads(line) for line in lines(java.run(shop, f"{TOOLS}.VerifiableConsumer", *read, "--verbose"))]
    values = sorted(int(event["value"]) for event in events if event["name"] == "record_data")
    expect_equal(values, list(range(300)), "values read")
    commits = [event for event in events if event["name"] == "offsets_committed"]
    expect_equal({event["success"] for event in commits}, {True}, "commits")


def metadata_quorum(shop: Workshop, java: Java) -> None:
    def command(*arguments: str) -> str:
        return java.run(shop, f"{TOOLS}.MetadataQuorumCommand", "describe", *arguments)

    status = command("--status")
    leader = shop.cluster.quorum_leader()
    expect(status, "ClusterId:", f"LeaderId:               {leader}", "CurrentVoters:", "HighWatermark:")
    rows = [line.split() for line in lines(command("--replication"))[1:]]
    expect_equal(sorted((row[0], row[-1]) for row in rows if row[-1] != "Observer")[0][0], "1", "the first voter")
    expect_equal(sum(row[-1] == "Leader" for row in rows), 1, "leaders")
    expect_equal(sum(row[-1] == "Follower" for row in rows), 2, "followers")


def reassign(shop: Workshop, java: Java) -> None:
    def command(*arguments: str | Path) -> str:
        return java.run(shop, f"{TOOLS}.reassign.ReassignPartitionsCommand", *arguments)

    topic = shop.topic(1)
    produce(shop, java, topic, "one\ntwo\n")
    move = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [3, 1]}]}
    plan = shop.file("plan.json", json.dumps(move))
    expect(command("--reassignment-json-file", plan, "--execute"), "Successfully started partition reassignment")
    done = f"Reassignment of partition {topic}-0 is completed."
    shop.wait(lambda: done in command("--reassignment-json-file", plan, "--verify"), "the reassignment is done")
    shown = java.run(shop, f"{TOOLS}.TopicCommand", "--describe", "--topic", topic)
    expect(shown, "Replicas: 3,1")
    wanted = shop.file("topics.json", json.dumps({"version": 1, "topics": [{"topic": topic}]}))
    with shop.cluster.unhurt():  # the tool proposes only brokers that are in service
        proposed = command("--topics-to-move-json-file", wanted, "--broker-list", "1,2", "--generate")
    expect(proposed, "Proposed partition reassignment configuration")
    expect(command("--list"), "No partition reassignments found.")
    expect_equal(consume(shop, java, topic, 2, "--from-beginning"), ["one", "two"], "records after the move")


def leader_election(shop: Workshop, java: Java) -> None:
    """The preferred leader leads already, or is elected: either is said."""
    topic = shop.topic(3)
    arguments = ("--election-type", "preferred", "--topic", topic, "--partition", "0")
    shown = java.run(shop, f"{TOOLS}.LeaderElectionCommand", *arguments)
    if f"{topic}-0" not in shown or not ("Valid replica already elected" in shown or "Successfully" in shown):
        raise AssertionError(shown)


def get_offsets(shop: Workshop, java: Java) -> None:
    def command(*arguments: str) -> str:
        return java.run(shop, f"{TOOLS}.GetOffsetShell", *arguments)

    topic = shop.topic(2)
    produce(shop, java, topic, "".join(f"{number}\n" for number in range(10)))
    ends = lines(command("--topic", topic))
    expect_equal(sum(int(line.split(":")[2]) for line in ends), 10, "the sum of ends")
    starts = lines(command("--topic", topic, "--time", "earliest"))
    expect_equal(starts, [f"{topic}:0:0", f"{topic}:1:0"], "starts")
    latest = lines(command("--topic-partitions", f"{topic}:0,{topic}:1", "--time", "max-timestamp"))
    filled = [line.split(":")[1] for line in ends if not line.endswith(":0")]
    expect_equal([line.split(":")[1] for line in latest], filled, "partitions by max-timestamp")


def delete_records(shop: Workshop, java: Java) -> None:
    topic = shop.topic(1)
    produce(shop, java, topic, "".join(f"{number}\n" for number in range(10)))
    offsets = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 4}]}
    plan = shop.file("offsets.json", json.dumps(offsets))
    expect(java.run(shop, f"{TOOLS}.DeleteRecordsCommand", "--offset-json-file", plan), "low_watermark: 4")
    expect_equal(consume(shop, java, topic, 6, "--from-beginning"), list("456789"), "what is left")


def log_dirs(shop: Workshop, java: Java) -> None:
    topic = shop.topic(1)
    produce(shop, java, topic, "one\n")

    def holders() -> dict[int, set[str]]:
        """By broker, what it says that it has; a broker that is down says nothing."""
        shown = java.run(shop, f"{TOOLS}.LogDirsCommand", "--describe", "--topic-list", topic)
        described = json.loads(next(line for line in lines(shown) if line.startswith("{")))
        return {
            broker["broker"]: {each["partition"] for found in broker["logDirs"] for each in found["partitions"]}
            for broker in described["brokers"]
        }

    shop.wait(lambda: holders() == {number: {f"{topic}-0"} for number in (1, 2, 3)}, "three brokers have the partition")


def transactions(shop: Workshop, java: Java) -> None:
    def command(*arguments: str) -> str:
        return java.run(shop, f"{TOOLS}.TransactionsCommand", *arguments)

    topic, transactional_id = shop.topic(1), f"{shop.name}-id"
    made = ("--topic", topic, "--num-records", "100", "--record-size", "10", "--throughput", "-1")
    properties = ("--producer-props", f"bootstrap.servers={shop.bootstrap}", "--transactional-id", transactional_id)
    shop.run(*java.command(f"{TOOLS}.ProducerPerformance", *made, *properties, "--transaction-duration-ms", "50"))
    shop.wait(lambda: transactional_id in command("list"), "it is listed")
    expect(command("describe", "--transactional-id", transactional_id), "CompleteCommit")
    expect(command("describe-producers", "--topic", topic, "--partition", "0"), "ProducerId", "None")
    command("find-hanging", "--broker-id", "1")


def features(shop: Workshop, java: Java) -> None:
    shown = java.run(shop, f"{TOOLS}.FeatureCommand", "describe")
    expect(shown, "metadata.version", "kraft.version", "group.version", "transaction.version", "FinalizedVersionLevel")


def api_versions(shop: Workshop, java: Java) -> None:
    def answers(node_id: int) -> bool:
        """A broker that is down is left out, or shown with an error."""
        shown = java.run(shop, f"{TOOLS}.BrokerApiVersionsCommand")
        of_broker = next((part for part in shown.split("\n)") if f"(id: {node_id} " in part), "")
        return all(each in of_broker for each in ("Produce(0)", "Fetch(1)", "ConsumerGroupHeartbeat(68)"))

    for node_id in (1, 2, 3):
        shop.wait(lambda node_id=node_id: answers(node_id), f"broker {node_id} answers")  # type: ignore[misc]


JAVA_TOOLS = Commands(
    f"Kafka's tools {KAFKA_VERSION}",
    with_kafka_jars,
    (
        CommandCase("kafka-topics", "create, list, describe, alter, delete", "as made; Kafka's refusals", topics),
        CommandCase(
            "kafka-console-*", "three records with keys, lz4; read all, and from an offset", "as written", console
        ),
        CommandCase("kafka-console-* with headers", "a record with headers, --sync", "printed again", console_headers),
        CommandCase(
            "kafka-consumer-groups",
            "list, describe, reset offsets (dry run, execute, shift), delete offsets, delete",
            "offsets, ends and lags as done",
            consumer_groups,
        ),
        CommandCase(
            "kafka-consumer-groups, members",
            "a living member of a classic and of a KIP-848 group, described",
            "Stable with its partitions, then Empty",
            group_members,
        ),
        CommandCase("kafka-configs, topics", "set, describe, unset", "values with their sources", configs),
        CommandCase("kafka-configs, brokers", "a cluster-wide default, set and unset", "the same", broker_configs),
        CommandCase("kafka-producer-perf-test", "5,000 records of 1 KB", "5,000 sent", producer_performance),
        CommandCase("kafka-consumer-perf-test", "the same, read by a group", "5,000 read", consumer_performance),
        CommandCase("kafka-e2e-latency", "200 records, acks=all", "a latency", end_to_end_latency),
        CommandCase("kafka-verifiable-*", "300 records, by a group", "all once, all commits succeed", verifiable),
        CommandCase("kafka-metadata-quorum", "describe status and replication", "leader, followers", metadata_quorum),
        CommandCase("kafka-reassign-partitions", "3 replicas to 2: execute, verify, generate, list", "moved", reassign),
        CommandCase("kafka-leader-election", "preferred, one partition", "said to be so", leader_election),
        CommandCase("kafka-get-offsets", "latest, earliest, max-timestamp", "10 records' offsets", get_offsets),
        CommandCase("kafka-delete-records", "before offset 4 of 10", "6 are left", delete_records),
        CommandCase("kafka-log-dirs", "describe one topic", "three brokers have it", log_dirs),
        CommandCase("kafka-transactions", "list, describe, producers, hanging", "CompleteCommit", transactions),
        CommandCase("kafka-features", "describe", "the finalized features", features),
        CommandCase("kafka-broker-api-versions", "every broker", "every API with its versions", api_versions),
    ),
)
