"""Settings: Kafka's names and defaults, what their values may be, and where the value that holds comes from."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.metadata.broker_config import BROKER_SETTINGS, OWN_SETTINGS, TOPIC_NAME_OF
from broker.metadata.effective import Source, broker_values, log_config_fields, topic_value, topic_values
from broker.metadata.image import MetadataImage
from broker.metadata.records import (
    DEFAULT_BROKER,
    ConfigRecord,
    ConfigResource,
    broker_resource,
    topic_resource,
)
from broker.metadata.setting import DynamicSetting, Kind, unknown_setting
from broker.metadata.topic_config import (
    BY_NAME,
    TOPIC_SETTINGS,
    check_topic_config,
    log_fields,
    topic_config_warnings,
    topic_setting,
)
from broker.settings import SETTINGS as STATIC_SETTINGS
from kraftpy.errors import InvalidConfigError
from kraftpy.record import Compression
from kraftpy.record.compression import Codec
from log_store.config import LogConfig

KAFKA_4_TOPIC_SETTINGS = """
    cleanup.policy compression.gzip.level compression.lz4.level compression.type compression.zstd.level
    delete.retention.ms file.delete.delay.ms flush.messages flush.ms follower.replication.throttled.replicas
    index.interval.bytes leader.replication.throttled.replicas local.retention.bytes local.retention.ms
    max.compaction.lag.ms max.message.bytes message.timestamp.after.max.ms message.timestamp.before.max.ms
    message.timestamp.type min.cleanable.dirty.ratio min.compaction.lag.ms min.insync.replicas preallocate
    remote.log.copy.disable remote.log.delete.on.disable remote.storage.enable retention.bytes retention.ms
    segment.bytes segment.index.bytes segment.jitter.ms segment.ms unclean.leader.election.enable
""".split()


def test_every_name_of_kafka_4_is_there() -> None:
    assert [setting.name for setting in TOPIC_SETTINGS] == KAFKA_4_TOPIC_SETTINGS


def test_defaults_are_values_that_can_be() -> None:
    for setting in (*TOPIC_SETTINGS, *BROKER_SETTINGS):
        setting.parse(setting.default)
        assert setting.documentation.endswith("."), setting.name


def test_the_logs_defaults_are_the_same() -> None:
    """Two places say them; they must not part."""
    fields = log_fields({setting.name: setting.default for setting in TOPIC_SETTINGS})
    default = LogConfig()
    assert fields == {name: getattr(default, name) for name in fields}
    assert LogConfig(**fields) == default  # type: ignore[arg-type]


def test_a_value_that_is_granted_never_fails_at_the_log() -> None:
    """It is committed by then."""
    for setting in TOPIC_SETTINGS:
        limits = [limit for limit in (setting.minimum, setting.maximum) if limit is not None]
        for text in (*(str(int(limit)) for limit in limits), *setting.choices):
            LogConfig(**log_fields({setting.name: text}))  # type: ignore[arg-type]


def test_every_topic_setting_is_read_somewhere_or_says_that_it_has_no_effect() -> None:
    """As compression.type was not, which was checked, kept and described, and read by nobody."""
    root = Path(__file__).resolve().parents[2]
    read_of_logs = {node.attr for node in _nodes(root / "log_store") if isinstance(node, ast.Attribute)}
    acting = ("controller", "replication")
    named = {node.value for each in acting for node in _nodes(root / "broker" / each) if isinstance(node, ast.Constant)}
    for setting in TOPIC_SETTINGS:
        has_reader = setting.log_field in read_of_logs if setting.log_field else setting.name in named
        assert has_reader != setting.documentation.startswith("Accepted and without effect"), setting.name


def _nodes(folder: Path) -> Iterator[ast.AST]:
    """Of all modules; but who only looks whether a value can be has not read it."""
    left: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py")]
    while left:
        node = left.pop()
        yield node
        left += [
            each
            for each in ast.iter_child_nodes(node)
            if not (isinstance(each, ast.FunctionDef) and each.name == "__post_init__")
        ]


def test_each_broker_setting_is_the_default_of_one_topic_setting() -> None:
    """But for those that no topic has. The file of a node gives the same topic setting its default."""
    names = [setting.name for setting in BROKER_SETTINGS]
    assert names == sorted(names) and len(set(names)) == len(names)
    own = {setting.name for setting in OWN_SETTINGS}
    assert {name for name in names if name not in own} == set(TOPIC_NAME_OF)
    assert sorted(TOPIC_NAME_OF.values()) == sorted({setting.name for setting in TOPIC_SETTINGS if setting.broker_name})
    for setting in STATIC_SETTINGS:
        if setting.topic and setting.scale == 1:
            assert TOPIC_NAME_OF[setting.name] == setting.topic
    assert TOPIC_NAME_OF["log.retention.ms"] == "retention.ms"
    assert TOPIC_NAME_OF["message.max.bytes"] == "max.message.bytes"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("retention.ms", " 5 ", 5),
        ("retention.ms", "-1", -1),
        ("preallocate", "TRUE", True),
        ("min.cleanable.dirty.ratio", "0.25", 0.25),
        ("cleanup.policy", "compact, delete", ("compact", "delete")),
        ("leader.replication.throttled.replicas", "", ()),
        ("message.timestamp.type", "LogAppendTime", "LogAppendTime"),
    ],
)
def test_values(name: str, text: str, value: object) -> None:
    assert topic_setting(name).parse(text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("retention.ms", ""),
        ("retention.ms", "1e3"),
        ("retention.ms", "1_000"),
        ("retention.ms", "٣"),
        ("retention.ms", "-2"),
        ("retention.ms", str(2**63)),
        ("segment.bytes", str(2**31)),
        ("preallocate", "yes"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("min.cleanable.dirty.ratio", "nan"),
        ("min.cleanable.dirty.ratio", "half"),
        ("cleanup.policy", "delete,burn"),
        ("cleanup.policy", " , "),
        ("message.timestamp.type", "createtime"),
        ("compression.type", "none"),
    ],
)
def test_values_that_cannot_be(name: str, text: str) -> None:
    with pytest.raises(InvalidConfigError, match=name):
        check_topic_config({name: text})


def test_an_unknown_name_brings_the_nearest() -> None:
    assert "did you mean min.insync.replicas?" in str(unknown_setting("min.insync.replica", BY_NAME))
    assert "did you mean" not in str(unknown_setting("qqq", BY_NAME))
    with pytest.raises(InvalidConfigError, match="retention"):
        check_topic_config({"retension.ms": "1"})


def test_the_nearest_place_counts() -> None:
    places: list[tuple[ConfigResource | None, str, str, Source]] = [
        (None, "", "604800000", Source.BUILT_IN),
        (None, "", "4", Source.STATIC),
        (DEFAULT_BROKER, "log.retention.ms", "3", Source.DEFAULT_BROKER),
        (broker_resource(1), "log.retention.ms", "2", Source.BROKER),
        (topic_resource("t"), "retention.ms", "1", Source.TOPIC),
    ]
    image = MetadataImage.EMPTY
    static: dict[str, str] = {}
    for resource, name, value, source in places:
        if source is Source.STATIC:
            static = {"retention.ms": value}
        if resource is not None:
            image = image.apply([ConfigRecord(resource, name, value)], image.end_offset + 1, 1)[0]
        effective = topic_value(image, "retention.ms", "t", static, broker_id=1)
        assert (effective.value, effective.source) == (value, source)
    assert topic_value(image, "retention.ms", "t", static, broker_id=2).source is Source.TOPIC
    assert topic_value(image, "retention.ms", "u", static, broker_id=2).source is Source.DEFAULT_BROKER
    assert topic_value(image, "retention.ms", "u", static, broker_id=1).value == "2"
    assert broker_values(image, 1, static)["log.retention.ms"].source is Source.BROKER
    assert broker_values(image, None, static)["log.retention.ms"].value == "3"
    assert topic_values(image, "t", static)["retention.ms"].value == "1"


def test_what_a_log_is_told() -> None:
    records = [
        ConfigRecord(topic_resource("t"), "cleanup.policy", "compact, delete"),
        ConfigRecord(topic_resource("t"), "compression.type", "zstd"),
        ConfigRecord(DEFAULT_BROKER, "compression.zstd.level", "7"),
        ConfigRecord(DEFAULT_BROKER, "log.segment.bytes", "2097152"),
    ]
    image = MetadataImage.EMPTY.apply(records, 2, 1)[0]
    config = LogConfig(**log_config_fields(image, "t", {"flush.messages": "5"}, 1))  # type: ignore[arg-type]
    assert (config.cleanup_policy, config.segment_bytes, config.flush_messages) == ("compact,delete", 2097152, 5)
    assert config.recompression == Codec(Compression.ZSTD, 7)


def test_each_kind_of_setting_has_a_parser() -> None:
    types = {
        Kind.BOOLEAN: bool,
        Kind.INT: int,
        Kind.LONG: int,
        Kind.DOUBLE: float,
        Kind.STRING: str,
        Kind.LIST: tuple,
    }
    for kind in Kind:
        assert type(DynamicSetting("x", kind, "1", "").parse("true" if kind is Kind.BOOLEAN else "1")) is types[kind]


@pytest.mark.parametrize(
    ("given", "called"),
    [
        ("log.retention.ms", "retention.ms"),
        ("log.retention.hours", "retention.ms"),
        ("log.roll.hours", "segment.ms"),
        ("message.max.bytes", "max.message.bytes"),
        ("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio"),
    ],
)
def test_a_brokers_setting_given_to_a_topic_is_answered_with_the_topics(given: str, called: str) -> None:
    with pytest.raises(InvalidConfigError, match=f"a topic's is called {called}$"):
        check_topic_config({given: "1"})


def test_settings_without_effect_are_warned_of() -> None:
    given = {"local.retention.ms": "1000", "preallocate": "true", "remote.storage.enable": "false", "retention.ms": "1"}
    assert topic_config_warnings(given, "delete", 3) == (
        "local.retention.ms: accepted and without effect until storage is tiered",
        "preallocate: accepted and without effect",
    )
