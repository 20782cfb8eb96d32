"""What an operator says becomes a `NodeConfig`, or a sentence that says what to do."""

import re
from dataclasses import replace

import pytest

from broker.config import Listener, NodeConfig, VoterAddress
from broker.configure import COMPONENTS, configure, default_of, describe, documentation_of
from broker.coordinator.config import SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN
from broker.listeners import parse_address, parse_voters
from broker.metadata.topic_config import TOPIC_SETTINGS, topic_setting
from broker.properties import parse_properties, settings_in_environment
from broker.settings import ALIASES, BY_NAME, REPLACED, SECURITY, SETTINGS, TO_COME, TUNES_A_JVM
from kraftpy.errors import ConfigurationError
from kraftpy.runtime.limits import INT32_MAX
from kraftpy.runtime.ports import Address

PEERS = "1@127.0.0.1:9093, 2@127.0.0.1:9193 ,3@127.0.0.1:9293"

TUTORIAL = """\
# Licensed to the ASF

// 服务器的编号
broker.id=2  # 每台机器不同
listeners=PLAINTEXT://99.99.99.98:9092
advertised.listeners=PLAINTEXT://99.99.99.98:9092
host.name=99.99.99.98
num.network.threads=24
num.io.threads=60
background.threads=15
socket.request.max.bytes=104857600
log.dirs=/ssd1/kafka, /ssd2/kafka,/ssd3/kafka
num.partitions=3
num.recovery.threads.per.data.dir=8
auto.create.topics.enable=false
delete.topic.enable=true
default.replication.factor=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=3
log.retention.hours=96
log.segment.bytes=107374182
log.retention.check.interval.ms=300000
zookeeper.connect=99.99.99.99:2181,99.99.99.98:2181,99.99.99.97:2181
zookeeper.connection.timeout.ms=6000
group.initial.rebalance.delay.ms=3
"""


def config(**flags: str) -> NodeConfig:
    return configure({name.replace("_", "."): value for name, value in flags.items()}, {}).config


def refusal(flags: dict[str, str], file: str = "", strict: bool = False) -> str:
    with pytest.raises(ConfigurationError) as caught:
        configure(flags, {}, file, strict=strict)
    return str(caught.value)


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=1\nb : 2\nc 3\nd\n", {"a": "1", "b": "2", "c": "3", "d": ""}),
        ("  a = 1  \n\t! no\n# no\n", {"a": "1"}),
        ("a=1,\\\n   2,\\\n   3\nb=x", {"a": "1,2,3", "b": "x"}),
        ("a=x\\\\\nb=1", {"a": "x\\", "b": "1"}),
        ("a\\=b=c\\u4e2d\\t.", {"a=b": "c中\t."}),
        ("a=中文\r\nb=2\r", {"a": "中文", "b": "2"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=b#c", {"a": "b#c"}),
        ("a=http://host:1/x", {"a": "http://host:1/x"}),
        ("\ufeffa=1", {"a": "1"}),
        ("a=1\\", {"a": "1"}),
        ("", {}),
    ],
)
def test_files_are_read_as_java_reads_them(text: str, values: dict[str, str]) -> None:
    assert parse_properties(text) == (values, ())


def test_inline_comments_and_slashes_are_left_out_with_one_notice() -> None:
    properties = parse_properties("broker.id=2  # the second\n// a line\nlog.dirs=/x\t# here\n")
    assert properties.values == {"broker.id": "2", "log.dirs": "/x"}
    assert len(properties.notices) == 1
    assert "line 1, 2, 3" in properties.notices[0]


def test_a_malformed_escape_is_named() -> None:
    with pytest.raises(ConfigurationError, match="line 2"):
        parse_properties("a=1\nb=\\u12")


def test_the_environment_spells_dots_underscores_and_dashes() -> None:
    environment = {
        "KAFKA_LOG_DIRS": "/d",
        "KAFKA_A__B___C_D": "1",
        "KAFKA_HEAP_OPTS": "-Xmx1G",
        "KRAFTPY_BOOTSTRAP_SERVER": "x",
        "PATH": "/bin",
    }
    assert settings_in_environment(environment) == {"log.dirs": "/d", "a_b-c.d": "1"}


# --- order and names -------------------------------------------------------------------------------------------------


def test_flags_win_over_the_environment_over_the_file_over_defaults() -> None:
    file = "num.partitions=2\ndefault.replication.factor=2\nlog.segment.bytes=2000000\n"
    environment = {"KAFKA_NUM_PARTITIONS": "3", "KAFKA_DEFAULT_REPLICATION_FACTOR": "3"}
    found = configure({"num.partitions": "4"}, environment, file).config
    assert (found.controller.num_partitions, found.controller.default_replication_factor, found.log.segment_bytes) == (
        4,
        3,
        2_000_000,
    )
    assert found.log.index_interval_bytes == 4096
    assert found.given["num.partitions"] == "4"


def test_a_node_that_is_told_nothing_is_a_cluster_of_one_on_loopback() -> None:
    found, notices = configure({}, {})
    assert notices == ()
    assert found.voters == (VoterAddress(1, Address("127.0.0.1", 9093)),)
    assert found.is_voter
    assert found.grpc == Listener("GRPC", Address("127.0.0.1", 9093), None)
    assert found.framed == (Listener("PLAINTEXT", Address("127.0.0.1", 9092), None),)
    assert found.log_dirs == ("kraftpy-data/node-1",)


def test_a_voter_listens_where_the_list_says_and_one_port_below() -> None:
    found = config(node_id="2", controller_quorum_voters=PEERS)
    assert [str(voter) for voter in found.voters] == ["1@127.0.0.1:9093", "2@127.0.0.1:9193", "3@127.0.0.1:9293"]
    assert found.grpc.bind == Address("127.0.0.1", 9193)
    assert found.framed[0].bind == Address("127.0.0.1", 9192)


def test_an_observer_listens_where_it_is_told() -> None:
    found = config(node_id="4", controller_quorum_voters=PEERS, listeners="GRPC://127.0.0.1:9393")
    assert not found.is_voter
    assert (found.grpc.bind.port, found.framed[0].bind.port) == (9393, 9392)


@pytest.mark.parametrize(
    ("listeners", "calls_port"),
    [
        ("A://127.0.0.1:9092", 9093),
        ("A://127.0.0.1:9092,B://127.0.0.1:9093", 9094),
        ("A://127.0.0.1:9092,B://127.0.0.1:9094", 9093),
        ("A://127.0.0.1:65535,B://127.0.0.1:65534", 65533),
        ("A://127.0.0.1:0,B://127.0.0.1:0", 0),
    ],
)
def test_the_calls_get_a_port_that_no_other_listener_has(listeners: str, calls_port: int) -> None:
    assert config(listeners=listeners).grpc.bind.port == calls_port


def test_a_limit_that_nobody_can_set_refuses_no_setting() -> None:
    found = config(socket_request_max_bytes=str(300 << 20), replica_fetch_backoff_ms="5000")
    assert found.network.receive_bytes_max == found.network.frame_bytes_max == 300 << 20
    assert found.replication.fetch_backoff_max_ms == found.replication.fetch_backoff_ms == 5_000
    plain = config(socket_request_max_bytes=str(5 << 20), replica_fetch_backoff_ms="5")
    assert plain.network.receive_bytes_max == 256 << 20 and plain.replication.fetch_backoff_max_ms == 1_000


def test_port_0_stays_0() -> None:
    found = config(listeners="GRPC://127.0.0.1:0,PLAINTEXT://127.0.0.1:0")
    assert (found.grpc.bind.port, found.framed[0].bind.port) == (0, 0)
    assert found.framed[0].advertised_as(Address("127.0.0.1", 4711)) == Address("127.0.0.1", 4711)


def test_kafkas_controller_listener_is_the_one_of_the_calls() -> None:
    found = config(
        node_id="1",
        controller_quorum_voters="1@localhost:9093",
        controller_listener_names="CONTROLLER",
        listeners="PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
        listener_security_protocol_map="CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    )
    assert found.grpc.name == "GRPC" and found.grpc.bind == Address("localhost", 9093)
    assert [each.name for each in found.framed] == ["PLAINTEXT"]


def test_a_listeners_name_is_one_in_either_case() -> None:
    found = config(listeners="internal://127.0.0.1:9092", inter_broker_listener_name="internal")
    assert [each.name for each in found.framed] == [found.replication.listener_name] == ["INTERNAL"]


def test_a_wildcard_listener_is_advertised_as_the_voter_that_it_is() -> None:
    found = configure(
        {
            "node.id": "1",
            "controller.quorum.voters": "1@one.example:9093,2@two.example:9093",
            "listeners": "PLAINTEXT://:9092,GRPC://0.0.0.0:9093",
            "insecure.listeners.enable": "true",
        },
        {},
    ).config
    assert found.grpc == Listener("GRPC", Address("0.0.0.0", 9093), Address("one.example", 9093))
    assert found.framed[0] == Listener("PLAINTEXT", Address("", 9092), Address("one.example", 9092))


def test_units_of_retention_take_the_finest() -> None:
    assert config(log_retention_hours="1").log.retention_ms == 3_600_000
    assert config(log_retention_hours="1", log_retention_minutes="2").log.retention_ms == 120_000
    found = config(log_retention_hours="1", log_retention_minutes="2", log_retention_ms="3")
    assert found.log.retention_ms == 3
    assert found.controller.topic_defaults == {"retention.ms": "3"}
    assert config(log_retention_hours="-1").log.retention_ms == -1


def test_topic_defaults_that_contradict_each_other_are_refused_together() -> None:
    given = {"log.cleaner.min.compaction.lag.ms": "10", "log.cleaner.max.compaction.lag.ms": "5"}
    with pytest.raises(ConfigurationError, match=r"min\.compaction\.lag\.ms=10 is more than max"):
        configure(given, {})


def test_topic_defaults_follow_the_brokers_settings() -> None:
    found = config(min_insync_replicas="2", log_roll_hours="2", unclean_leader_election_enable="true")
    assert found.controller.topic_defaults == {
        "min.insync.replicas": "2",
        "segment.ms": "7200000",
        "unclean.leader.election.enable": "true",
    }


def test_rates_may_have_fractions() -> None:
    assert config(log_scrub_io_max_bytes_per_second="1.5").scrub.bytes_per_second == 1.5
    assert config(log_cleaner_io_max_bytes_per_second="1.5").compaction.bytes_per_second == 1.5


def test_flushing_is_relaxed_by_the_operators_word_only() -> None:
    assert not config().log.relaxed
    relaxed = config(log_flush_interval_messages="10000")
    assert relaxed.log.relaxed and relaxed.controller.topic_defaults == {"flush.messages": "10000"}


# --- the tutorials' files --------------------------------------------------------------------------------------------


def test_a_tutorials_file_starts_as_it_is_with_peers() -> None:
    flags = {"controller.quorum.voters": "1@99.99.99.99:9093,2@99.99.99.98:9093", "insecure.listeners.enable": "true"}
    found, notices = configure(flags, {}, TUTORIAL)
    assert found.node_id == 2
    assert found.log_dirs == ("/ssd1/kafka", "/ssd2/kafka", "/ssd3/kafka")
    assert found.log.retention_ms == 96 * 3_600_000
    assert not found.auto_create_topics
    assert found.framed[0].bind == Address("99.99.99.98", 9092)
    text = "\n".join(notices)
    assert text.count("tune a JVM") == 1 and "num.io.threads" in text
    assert "host.name has no effect" in text and "zookeeper.connect has no effect" in text
    assert "unknown" not in text


def test_a_stranger_on_a_voters_address_is_told_so_before_it_starts() -> None:
    voters = {"controller.quorum.voters": "1@127.0.0.1:9093,2@127.0.0.1:9193", "node.id": "5"}
    with pytest.raises(ConfigurationError, match=r"node 5 would listen on 127\.0\.0\.1:9093, which is node 1's"):
        configure(voters, {})
    assert not configure({**voters, "listeners": "GRPC://127.0.0.1:9593"}, {}).config.is_voter


def test_a_file_that_names_zookeeper_without_voters_is_answered_with_the_line_to_add() -> None:
    assert "controller.quorum.voters=1@99.99.99.99:9093,2@99.99.99.98:9093,3@99.99.99.97:9093" in refusal({}, TUTORIAL)


KAFKA_4 = """\
process.roles=broker,controller
node.id=2
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://b:9092,CONTROLLER://b:9093
controller.listener.names=CONTROLLER
insecure.listeners.enable=true
"""


@pytest.mark.parametrize("servers", ["a:9093,b:9093,c:9093", "a:9093"])
def test_a_file_of_kafka_4_that_names_others_and_no_voters_is_answered_with_the_line_to_add(servers: str) -> None:
    text = refusal({}, KAFKA_4 + f"controller.quorum.bootstrap.servers={servers}\n")
    assert "would found a cluster of its own" in text
    assert text.endswith(
        "controller.quorum.voters=" + ",".join(f"{i}@{s}" for i, s in enumerate(servers.split(","), 1))
    )
    with pytest.raises(ConfigurationError, match="would found a cluster of its own"):
        configure({}, {"KAFKA_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS": servers}, KAFKA_4)


@pytest.mark.parametrize("voters", ["", "controller.quorum.voters=1@a:9093,2@b:9093,3@c:9093\n"])
def test_a_file_of_kafka_4_for_one_node_or_with_voters_starts_as_it_is(voters: str) -> None:
    servers = "a:9093,b:9093" if voters else "b:9093,localhost:9093"
    found = configure({}, {}, KAFKA_4 + voters + f"controller.quorum.bootstrap.servers={servers}\n").config
    assert len(found.voters) == (3 if voters else 1)


def test_a_file_of_kafka_4_with_localhost_only_starts_as_it_is() -> None:
    alone = {"controller.quorum.bootstrap.servers": "localhost:9093"}
    assert len(configure(alone, {}).config.voters) == 1
    assert len(configure({**alone, "listeners": "PLAINTEXT://127.0.0.1:9092"}, {}).config.voters) == 1
    assert "found a cluster of its own" in refusal({"controller.quorum.bootstrap.servers": "localhost:9193"})


@pytest.mark.parametrize("name", ["node.id", "broker.id", "controller.quorum.voters", "log.dirs", "listeners"])
@pytest.mark.parametrize("blank", ["", "  ", " , "])
def test_a_blank_where_the_default_would_be_another_node_is_refused(name: str, blank: str) -> None:
    """`--peers "$VOTERS"` with nothing in it founded a cluster of one."""
    said = f"{ALIASES.get(name, name)} is blank"
    assert said in refusal({name: blank})
    assert said in refusal({}, f"{name}={blank}\n")
    with pytest.raises(ConfigurationError, match=said):
        configure({}, {f"KAFKA_{name.upper().replace('.', '_')}": blank})


def test_a_zookeeper_properties_is_answered_with_its_counterparts() -> None:
    text = refusal({}, "dataDir=/zk\nclientPort=2181\nmaxClientCnxns=0\nserver.1=a:2888:3888\n")
    assert "dataDir=/zk  ->  log.dirs" in text
    assert "server.1=a:2888:3888  ->  controller.quorum.voters" in text


def test_unknown_names_are_warned_of_with_the_nearest_and_refused_when_strict() -> None:
    assert configure({"num.partition": "3"}, {}).notices == (
        "unknown setting num.partition; did you mean num.partitions?",
    )
    assert "did you mean num.partitions?" in refusal({"num.partition": "3"}, strict=True)
    assert configure({"qqqqq": "3"}, {}).notices == ("unknown setting qqqqq",)


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"listeners": "PLAINTEXT://10.0.0.1:9092"}, "insecure.listeners.enable=true"),
        (
            {"listeners": "GRPC://0.0.0.0:9093", "insecure.listeners.enable": "true"},
            "advertised.listeners=GRPC://HOST:9093",
        ),
        ({"listeners": "PLAINTEXT://:9092", "advertised.listeners": "PLAINTEXT://0.0.0.0:9092"}, "no address"),
        ({"listeners": "SSL://127.0.0.1:9092"}, "SSL is not served yet"),
        (
            {
                "controller.listener.names": "CONTROLLER",
                "listeners": "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
                "listener.security.protocol.map": "controller:SSL,PLAINTEXT:PLAINTEXT",
            },
            "listener CONTROLLER: SSL is not served yet",
        ),
        (
            {"controller.listener.names": "CONTROLLER", "listener.security.protocol.map": "CONTROLLER:SASL_SSL"},
            "listener CONTROLLER: SASL_SSL is not served yet",
        ),
        (
            {"controller.listener.names": "SSL", "listeners": "SSL://127.0.0.1:9093"},
            "listener SSL: SSL is not served yet",
        ),
        ({"listener.security.protocol.map": "GRPC:SSL"}, "listener GRPC: SSL is not served yet"),
        ({"listeners": "127.0.0.1:9092"}, "not NAME://HOST:PORT"),
        ({"listeners": "A://127.0.0.1:1,a://127.0.0.1:2"}, "A stands there twice"),
        ({"listeners": "PLAINTEXT://127.0.0.1:70000"}, "not HOST:PORT"),
        ({"advertised.listeners": "OTHER://h:1"}, "not among listeners"),
        ({"controller.quorum.voters": "127.0.0.1:9093"}, "not ID@HOST:PORT"),
        ({"controller.quorum.voters": "1@a:1,1@b:1"}, "id 1 stands there twice"),
        ({"controller.quorum.voters": "1@a:1,2@a:1"}, "address a:1 stands there twice"),
        ({"controller.quorum.voters": "1@0.0.0.0:9093"}, "not an address that the other nodes could reach"),
        ({"num.partitions": "many"}, "num.partitions is a whole number, not 'many'"),
        ({"num.partitions": "0"}, "num.partitions lies between 1 and 2147483647, not 0"),
        ({"node.id": "-1"}, "node.id lies between 0"),
        ({"auto.create.topics.enable": "yes"}, "true or false"),
        ({"log.segment.bytes": "1"}, "log.segment.bytes: segment.bytes=1: it lies between 1048576"),
        ({"log.segment.bytes": "1048575"}, "log.segment.bytes: segment.bytes=1048575: it lies between 1048576"),
        ({"log.roll.ms": "1_000"}, "log.roll.ms: segment.ms=1_000: it is a whole number"),
        ({"min.insync.replicas": "abc"}, "min.insync.replicas=abc: it is a whole number"),
        ({"min.insync.replicas": "0"}, "min.insync.replicas=0: it lies between 1"),
        ({"unclean.leader.election.enable": "yes"}, "unclean.leader.election.enable=yes: it is true or false"),
        ({"compression.type": "GZIP"}, "compression.type=GZIP: it is uncompressed or zstd"),
        (
            {"controller.quorum.fetch.timeout.ms": "10"},
            "controller.quorum.fetch.timeout.ms (10) must be at least twice",
        ),
        ({"replica.fetch.wait.max.ms": "9000"}, "replica.fetch.wait.max.ms must be at most half of replica.lag.time"),
        ({"group.max.session.timeout.ms": "5"}, "group.min.session.timeout.ms is at most group.max.session.timeout.ms"),
        ({"log.format": "xml"}, "plain, json"),
        ({"log.dirs": "/a,/a"}, "a directory twice"),
        ({"log.dirs": "/a,/b/../c,/a/./"}, "a directory twice: /a"),
        ({"log.dirs": "/a/b,/a"}, "/a/b lies in /a: give each"),
        ({"log.dirs": "here,/a,here/below"}, "here/below lies in here: give each"),
        (
            {"replica.alter.log.dirs.io.max.bytes.per.second": "0"},
            "replica.alter.log.dirs.io.max.bytes.per.second must be at least 1, not 0: leave it out",
        ),
        (
            {"replica.alter.log.dirs.io.max.bytes.per.second": "-1"},
            "replica.alter.log.dirs.io.max.bytes.per.second must be at least 1, not -1: leave it out",
        ),
        (
            {"num.replica.alter.log.dirs.threads": "0"},
            "num.replica.alter.log.dirs.threads must be at least 1, not 0: no replica could move",
        ),
        (
            {"offsets.topic.segment.bytes": "1000"},
            "offsets.topic.segment.bytes lies between 1048576 and 2147483647, not 1000",
        ),
        (
            {"transaction.state.log.segment.bytes": str(2**31)},
            "transaction.state.log.segment.bytes lies between 1048576 and 2147483647, not 2147483648",
        ),
        (
            {"controller.quorum.voters": "1@localhost:9093", "listeners": "PLAINTEXT://localhost:9093"},
            "listeners: PLAINTEXT and GRPC cannot both have localhost:9093",
        ),
        (
            {
                "controller.quorum.voters": "1@one.example:9093",
                "listeners": "A://:9092,B://0.0.0.0:9093",
                "insecure.listeners.enable": "true",
            },
            "listeners: B and GRPC cannot both have one.example:9093",
        ),
        ({"listeners": "A://127.0.0.1:9092,B://127.0.0.1:9092"}, "A and B cannot both have 127.0.0.1:9092"),
        (
            {
                "listeners": "A://[::]:9092,B://0.0.0.0:9092",
                "advertised.listeners": "A://one.example:9092,B://one.example:9092",
                "insecure.listeners.enable": "true",
            },
            "A and B cannot both have [::]:9092",
        ),
        ({"metadata.log.dir": "/elsewhere"}, "first of log.dirs"),
        ({"process.roles": "leader"}, "broker, controller or both"),
        ({"process.roles": "broker"}, "list there the nodes that vote"),
        ({"inter.broker.listener.name": "INTERNAL"}, "not among listeners"),
        ({"authorizer.class.name": "x.Authorizer"}, "cannot be honoured"),
        ({"sasl.enabled.mechanisms": "PLAIN"}, "cannot be honoured"),
        ({"security.inter.broker.protocol": "SASL_SSL"}, "cannot be honoured"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(flags: dict[str, str], sentence: str) -> None:
    assert sentence in refusal(flags)


@pytest.mark.parametrize("value", ["PLAINTEXT", "plaintext ", ""])
def test_a_protocol_between_brokers_that_asks_for_no_security_is_passed_over(value: str) -> None:
    assert configure({}, {}, f"security.inter.broker.protocol={value}\n").notices == ()


def test_addresses_of_every_kind() -> None:
    assert parse_address("[::1]:9093", "x") == Address("::1", 9093)
    assert parse_address(":9093", "x") == Address("", 9093)
    assert str(parse_voters("1@[::1]:9093")[0]) == "1@[::1]:9093"
    for bad in ("", "host", "host:", "::1:9093", "host:-1", "host:٣"):
        with pytest.raises(ConfigurationError):
            parse_address(bad, "x")


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_setting_that_sets_a_field_is_documented_there() -> None:
    for setting in SETTINGS:
        assert documentation_of(setting) or not setting.target, setting.name
        assert setting.target or setting.topic or setting.name in described_by_hand, setting.name
    assert len(BY_NAME) == len(SETTINGS)
    assert set(COMPONENTS) == {each.target.split(".")[0] for each in SETTINGS if each.target} - {"node"}


described_by_hand = {
    "process.roles",
    "controller.listener.names",
    "advertised.listeners",
    "listener.security.protocol.map",
    "metadata.log.dir",
}


def test_every_default_is_what_the_setting_would_give() -> None:
    plain = configure({}, {}).config
    for setting in SETTINGS:
        default = default_of(setting)
        if default and setting.target and setting.name not in ("log.dirs", "controller.quorum.voters"):
            found = configure({setting.name: default}, {}).config
            controller = replace(found.controller, topic_defaults={})
            assert replace(found, given={}, controller=controller) == plain, setting.name


def test_what_is_said_of_settings_names_no_fields() -> None:
    """An operator cannot type those."""
    for setting in SETTINGS:
        assert not re.findall(r"`[a-z]+(?:_[a-z]+)+`", documentation_of(setting)), setting.name
    assert "log.flush.interval.messages" in documentation_of(BY_NAME["log.flush.interval.ms"])


KAFKAS_LONGS = frozenset(
    """
    connections.max.idle.ms leader.imbalance.check.interval.seconds log.cleaner.backoff.ms
    log.cleaner.dedupe.buffer.size log.cleaner.delete.retention.ms log.cleaner.max.compaction.lag.ms
    log.cleaner.min.compaction.lag.ms log.flush.interval.messages log.flush.interval.ms
    log.message.timestamp.after.max.ms log.message.timestamp.before.max.ms log.retention.bytes
    log.retention.check.interval.ms log.retention.ms log.roll.ms log.segment.delete.delay.ms
    offsets.retention.check.interval.ms replica.alter.log.dirs.io.max.bytes.per.second
    replica.high.watermark.checkpoint.interval.ms replica.lag.time.max.ms
    """.split()
)
LONGS = KAFKAS_LONGS | {
    "log.retention.hours",  # three that are ints there, and of milliseconds that are long
    "log.retention.minutes",
    "log.roll.hours",
    "producer.id.expiration.ms",  # never leaves the node
    "log.scrub.interval.ms",  # Kafka has none
}


@pytest.mark.parametrize("value", [2**31, 2**63, -(2**31) - 1])
def test_every_number_has_a_least_and_a_most_and_the_refusal_names_the_setting_once(value: int) -> None:
    for setting in SETTINGS:
        if not setting.target or (value == 2**31 and setting.name in LONGS):
            continue
        component, field = setting.target.split(".")
        holder = NodeConfig() if component == "node" else COMPONENTS[component]()
        if type(getattr(holder, field)) is int:
            said = refusal({setting.name: str(value)})
            assert re.match(re.escape(setting.name) + r"[:=, ]", said), said
            assert said.count(setting.name) == 1, said


def test_what_is_named_long_may_be_longer_than_an_int() -> None:
    for name in LONGS - {"log.cleaner.min.compaction.lag.ms"}:  # at most the other lag
        assert configure({name: str(2**31)}, {}).config.given[name] == str(2**31)


def test_a_coordinators_segments_are_limited_as_any_topics() -> None:
    limits = topic_setting("segment.bytes")
    assert (limits.minimum, INT32_MAX) == (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)


def test_every_topic_default_is_a_topic_setting_with_the_same_default() -> None:
    for setting in SETTINGS:
        if setting.topic:
            known = next(each for each in TOPIC_SETTINGS if each.name == setting.topic)
            if setting.scale == 1:
                assert default_of(setting) == known.default, setting.name


def test_no_setting_is_both_known_and_without_effect() -> None:
    names = [*BY_NAME, *ALIASES, *TUNES_A_JVM, *REPLACED]
    assert [name for name in sorted(set(names)) if names.count(name) > 1] == []
    prefixes = (*(prefix for prefix, _ in TO_COME), *SECURITY)
    assert [name for name in sorted(names) if name.startswith(prefixes)] == []


def test_describe_tells_what_was_given() -> None:
    rows = {row.name: row for row in describe(config(num_partitions="7"))}
    assert rows["num.partitions"].value == "7" and rows["num.partitions"].given
    assert rows["log.retention.hours"].value == "168" and not rows["log.retention.hours"].given
    assert rows["listeners"].value == "PLAINTEXT://127.0.0.1:9092,GRPC://127.0.0.1:9093"
    assert "whose creator did not say" in rows["num.partitions"].documentation
