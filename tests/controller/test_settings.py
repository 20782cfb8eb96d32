"""Settings of topics and brokers: incremental changes, and everything that is refused."""

import pytest

from broker.controller.commands import AlterConfigs, AlteredConfig, ConfigAlteration, ConfigChange, NewTopic, Operation
from broker.controller.config import ControllerConfig
from broker.controller.result import Result, UncleanElection
from broker.metadata.records import (
    DEFAULT_BROKER,
    NO_LEADER,
    ConfigRecord,
    ConfigResource,
    ResourceType,
    broker_resource,
    topic_resource,
)
from kraftpy.errors import PolicyViolationError
from tests.controller.harness import Harness

SET, DELETE, APPEND, SUBTRACT = Operation.SET, Operation.DELETE, Operation.APPEND, Operation.SUBTRACT
TOPIC = topic_resource("t")
THROTTLED = "leader.replication.throttled.replicas"
ANY_OF = {ResourceType.TOPIC: "retention.ms", ResourceType.BROKER: "leader.replication.throttled.rate"}


@pytest.fixture
def harness() -> Harness:
    harness = Harness()
    harness.start(1)
    harness.create("t", (1,))
    return harness


def alter(harness: Harness, resource: ConfigResource, *changes: ConfigChange) -> AlteredConfig:
    return harness.submit(AlterConfigs((ConfigAlteration(resource, changes),))).resources[0]


def test_lists_are_added_to_and_taken_from_by_what_holds(harness: Harness) -> None:
    assert alter(harness, TOPIC, ConfigChange("cleanup.policy", APPEND, "compact")).error is None
    assert harness.image.config(TOPIC) == {"cleanup.policy": "delete,compact"}
    assert alter(harness, TOPIC, ConfigChange("cleanup.policy", SUBTRACT, "delete")).error is None
    assert harness.image.config(TOPIC) == {"cleanup.policy": "compact"}


def test_replacing_unsets_what_is_not_named(harness: Harness) -> None:
    alter(harness, TOPIC, ConfigChange("retention.ms", SET, "5"), ConfigChange("segment.ms", SET, "6"))
    replacing = ConfigAlteration(TOPIC, (ConfigChange("segment.ms", SET, "7"),), replace=True)
    assert harness.submit(AlterConfigs((replacing,))).resources[0].error is None
    assert harness.image.config(TOPIC) == {"segment.ms": "7"}
    wrong = ConfigAlteration(TOPIC, (ConfigChange("segment.ms", SET, "0"),), replace=True)
    assert harness.submit(AlterConfigs((wrong,))).resources[0].error is not None
    assert harness.image.config(TOPIC) == {"segment.ms": "7"}


def test_lags_that_contradict_each_other_are_refused(harness: Harness) -> None:
    assert alter(harness, TOPIC, ConfigChange("min.compaction.lag.ms", SET, "5")).error is None
    refused = alter(harness, TOPIC, ConfigChange("max.compaction.lag.ms", SET, "4")).error
    assert refused is not None and refused.name == "INVALID_CONFIG" and "more than" in str(refused)
    both = ConfigChange("min.compaction.lag.ms", DELETE), ConfigChange("max.compaction.lag.ms", SET, "4")
    assert alter(harness, TOPIC, *both).error is None
    assert harness.image.config(TOPIC) == {"max.compaction.lag.ms": "4"}


def test_one_wrong_setting_leaves_its_resource_as_it_was_and_the_others_change(harness: Harness) -> None:
    first = ConfigAlteration(TOPIC, (ConfigChange("retention.ms", SET, "5"), ConfigChange("segment.ms", SET, "0")))
    second = ConfigAlteration(DEFAULT_BROKER, (ConfigChange("log.retention.ms", SET, "6"),))
    results = harness.submit(AlterConfigs((first, second))).resources
    assert [result.error.name if result.error else None for result in results] == ["INVALID_CONFIG", None]
    assert harness.image.configs == {DEFAULT_BROKER: {"log.retention.ms": "6"}}


def test_what_changes_nothing_writes_nothing(harness: Harness) -> None:
    alter(harness, TOPIC, ConfigChange("retention.ms", SET, " 5 "))
    before = harness.image
    alter(harness, TOPIC, ConfigChange("retention.ms", SET, "5"), ConfigChange("segment.ms", DELETE))
    assert harness.image == before


def test_validate_only_changes_nothing(harness: Harness) -> None:
    command = AlterConfigs((ConfigAlteration(TOPIC, (ConfigChange("retention.ms", SET, "5"),)),), validate_only=True)
    assert harness.submit(command).resources[0].error is None
    assert not harness.image.configs


def test_s08_the_tutorials_delete_retention_is_kept_with_a_warning(harness: Harness) -> None:
    altered = alter(harness, TOPIC, ConfigChange("delete.retention.ms", SET, "21600000"))
    assert altered.error is None and "retention.ms" in altered.warnings[0]
    compacted = alter(harness, TOPIC, ConfigChange("cleanup.policy", SET, "compact"))
    assert compacted.error is None
    assert "delete.retention.ms" not in "".join(
        alter(harness, TOPIC, ConfigChange("delete.retention.ms", SET, "5")).warnings
    )
    for change in (ConfigChange("cleanup.policy", SET, "delete"), ConfigChange("cleanup.policy", DELETE)):
        (warning,) = alter(harness, TOPIC, change).warnings
        assert "how long this topic keeps records is retention.ms" in warning, "it has lost its effect"
        alter(harness, TOPIC, ConfigChange("cleanup.policy", SET, "compact"))


@pytest.mark.parametrize(
    ("resource", "change", "name", "says"),
    [
        (TOPIC, ConfigChange("retention", SET, "1"), "INVALID_CONFIG", "did you mean retention."),
        (TOPIC, ConfigChange("min.compaction.lag.ms", SET, str(2**63)), "INVALID_CONFIG", "between 0 and"),
        (TOPIC, ConfigChange("min.cleanable.dirty.ratio", SET, "1.5"), "INVALID_CONFIG", "between 0 and 1"),
        (TOPIC, ConfigChange("zzz", APPEND, "1"), "INVALID_CONFIG", "unknown setting zzz"),
        (TOPIC, ConfigChange("retention.ms", SET, None), "INVALID_CONFIG", "set to nothing"),
        (TOPIC, ConfigChange("retention.ms", APPEND, "1"), "INVALID_CONFIG", "not a list"),
        (TOPIC, ConfigChange("min.insync.replicas", SET, "0"), "INVALID_CONFIG", "between 1 and"),
        (TOPIC, ConfigChange("segment.bytes", SET, "1000"), "INVALID_CONFIG", "between 1048576"),
        (TOPIC, ConfigChange("cleanup.policy", APPEND, "burn"), "INVALID_CONFIG", "delete or compact"),
        (topic_resource("u"), ConfigChange("retention.ms", SET, "1"), "UNKNOWN_TOPIC_OR_PARTITION", "no topic u"),
        (broker_resource(9), ConfigChange("log.retention.ms", SET, "1"), "BROKER_ID_NOT_REGISTERED", "broker 9"),
        (ConfigResource(ResourceType.BROKER, "01"), ConfigChange("a", SET, "1"), "INVALID_REQUEST", "no broker id"),
        (ConfigResource(ResourceType.BROKER, "9" * 5_000), ConfigChange("a", SET, "1"), "INVALID_REQUEST", "no broker"),
        (ConfigResource(ResourceType.BROKER, "x"), ConfigChange("a", SET, "1"), "INVALID_REQUEST", "no broker id"),
        (DEFAULT_BROKER, ConfigChange("log.retention.hours", SET, "1"), "INVALID_CONFIG", "log.retention.ms can"),
        (DEFAULT_BROKER, ConfigChange("retention.ms", SET, "1"), "INVALID_CONFIG", "its default is log.retention.ms"),
        (DEFAULT_BROKER, ConfigChange("num.partitions", SET, "3"), "INVALID_CONFIG", "restart it"),
        (DEFAULT_BROKER, ConfigChange("log.retention.m", SET, "3"), "INVALID_CONFIG", "did you mean log.retention.ms?"),
        (broker_resource(1), ConfigChange("min.insync.replicas", SET, "2"), "INVALID_CONFIG", "for all brokers"),
        (TOPIC, ConfigChange(THROTTLED, SET, "1:2," * 250_000), "INVALID_CONFIG", "524288 bytes, not 1000000"),
    ],
)
def test_refusals(harness: Harness, resource: ConfigResource, change: ConfigChange, name: str, says: str) -> None:
    before = harness.image
    error = alter(harness, resource, change).error
    assert error is not None and error.name == name
    assert says in str(error)
    assert harness.image == before


def test_a_value_grows_no_further_than_one_may_be_set(harness: Harness) -> None:
    replicas = [",".join(f"{partition}:1" for partition in range(start, start + 40_000)) for start in (0, 100_000)]
    assert alter(harness, TOPIC, ConfigChange(THROTTLED, SET, replicas[0])).error is None
    error = alter(harness, TOPIC, ConfigChange(THROTTLED, APPEND, replicas[1])).error
    assert error is not None and error.name == "INVALID_CONFIG"
    assert harness.image.config(TOPIC) == {THROTTLED: replicas[0]}
    assert alter(harness, TOPIC, ConfigChange(THROTTLED, SUBTRACT, replicas[0])).error is None


def test_what_is_too_much_for_one_entry_is_refused_as_a_whole(harness: Harness) -> None:
    """The quorum's nodes send each other 64 MiB at most, and an entry never in parts."""
    for number in range(20):
        harness.create(f"t{number}", (1,))
    change = ConfigChange(THROTTLED, SET, "1:2," + " " * 500_000 + "3:4")
    alterations = tuple(ConfigAlteration(topic_resource(f"t{number}"), (change,)) for number in range(20))
    before = harness.image
    with pytest.raises(PolicyViolationError, match="divide it"):
        harness.submit(AlterConfigs(alterations))
    assert harness.image is before
    assert harness.submit(AlterConfigs(alterations[:15])).resources[0].error is None


def with_eligible() -> tuple[Harness, tuple[ConfigAlteration, ...]]:
    """Broker 2 is eligible for `e` until a lower minimum is set, and nobody leads `u` until unclean elections are."""
    harness = Harness(ControllerConfig(records_per_entry_max=2))
    harness.start(1, 2, 3)
    for name in ("e", "e2", "e3"):
        harness.create(name, (1, 2), config={"min.insync.replicas": "2"})
    for name in ("u", "u2", "u3"):
        harness.create(name, (2, 3))
    harness.fence(3)
    harness.fence(2)
    harness.beat(3)
    lowered = ConfigChange("min.insync.replicas", SET, "1")
    allowed = ConfigChange("unclean.leader.election.enable", SET, "true")
    alterations = [ConfigAlteration(topic_resource(name), (lowered,)) for name in ("e", "e2", "e3")]
    return harness, (*alterations, ConfigAlteration(DEFAULT_BROKER, (allowed,)))


def test_a_resources_settings_stand_in_one_entry_whatever_follows_from_them() -> None:
    harness, alterations = with_eligible()
    harness.create("t", (1,))
    several = tuple(ConfigChange(name, SET, "7") for name in ("retention.ms", "retention.bytes", "segment.ms"))
    result = harness.core.handle(AlterConfigs((*alterations, ConfigAlteration(TOPIC, several))), harness.now_ms)
    entries = result.entries(harness.config.records_per_entry_max)
    assert [[type(record).__name__ for record in entry] for entry in entries] == [
        2 * ["PartitionChangeRecord"],
        ["PartitionChangeRecord"],
        7 * ["ConfigRecord"],
        2 * ["PartitionChangeRecord"],
        ["PartitionChangeRecord"],
    ]
    assert [record for entry in entries for record in entry] == list(result.records)


def test_what_is_too_much_for_one_entry_is_refused_whatever_follows_from_it() -> None:
    harness, alterations = with_eligible()
    for number in range(20):
        harness.create(f"t{number}", (1,))
    change = ConfigChange(THROTTLED, SET, "1:2," + " " * 500_000 + "3:4")
    large = tuple(ConfigAlteration(topic_resource(f"t{number}"), (change,)) for number in range(20))
    with pytest.raises(PolicyViolationError, match="divide it"):
        harness.submit(AlterConfigs((*alterations, *large)))
    assert harness.submit(AlterConfigs((*alterations, *large[:15]))).resources[0].error is None


def test_what_need_not_stand_together_is_divided_by_its_size() -> None:
    records = [ConfigRecord(topic_resource(f"t{number}"), THROTTLED, "1:2," * 125_000) for number in range(20)]
    entries = Result(None, records, atomic=False).entries(5_000)
    assert [len(entry) for entry in entries] == [16, 4]


def test_a_resource_or_setting_named_twice_is_refused(harness: Harness) -> None:
    change = ConfigChange("retention.ms", SET, "5")
    error = alter(harness, TOPIC, change, change).error
    assert error is not None and error.name == "INVALID_CONFIG"
    alteration = ConfigAlteration(TOPIC, (change,))
    other = ConfigAlteration(DEFAULT_BROKER, (ConfigChange("log.retention.ms", SET, "6"),))
    results = harness.submit(AlterConfigs((alteration, other, alteration))).resources
    named = [result.error.name if result.error else None for result in results]
    assert named == ["INVALID_REQUEST", None, "INVALID_REQUEST"], "which of the two is meant nobody knows"
    assert harness.image.configs == {DEFAULT_BROKER: {"log.retention.ms": "6"}}


@pytest.mark.parametrize(
    ("resource", "name", "says"),
    [
        (TOPIC, "message.format.version", "unknown setting message.format.version"),
        (TOPIC, "retention.m", "did you mean retention.ms?"),
        (broker_resource(1), "num.partitions", "read when a broker starts"),
        (broker_resource(1), "min.insync.replicas", "holds for all brokers"),
    ],
)
def test_unsetting_what_is_not_set_changes_nothing_whatever_it_is(
    harness: Harness, resource: ConfigResource, name: str, says: str
) -> None:
    """As in Kafka: tools that bring a topic to a wanted state also unset what only other brokers know."""
    altered = alter(harness, resource, ConfigChange(name, DELETE), ConfigChange(ANY_OF[resource.type], SET, "7"))
    assert altered.error is None and any(says in warning for warning in altered.warnings)
    assert harness.image.configs == {resource: {ANY_OF[resource.type]: "7"}}


def test_a_broker_is_cordoned_by_name_and_as_a_whole(harness: Harness) -> None:
    asked = ((DEFAULT_BROKER, "*"), (broker_resource(1), "/data"), (broker_resource(1), "*"))
    told = [str(alter(harness, where, ConfigChange("cordoned.log.dirs", SET, value)).error) for where, value in asked]
    assert told[0] == "cordoned.log.dirs holds for one broker: name it"
    assert told[1].startswith("cordoned.log.dirs: /data") and told[2] == "None"


@pytest.mark.parametrize("value", ["*", "*,", " * ", "*,*"])
def test_a_broker_is_cordoned_however_the_list_is_written(value: str) -> None:
    harness = Harness()
    harness.start(1, 2)
    assert alter(harness, broker_resource(2), ConfigChange("cordoned.log.dirs", SET, value)).error is None
    assert harness.try_create(NewTopic("t", 3, 1)).error is None
    assert {harness.partition("t", index).replicas for index in range(3)} == {(1,)}


def test_allowing_unclean_elections_elects_at_once_where_nobody_leads() -> None:
    harness = Harness()
    harness.start(1, 2)
    harness.create("t", (1, 2))
    harness.create("u", (1, 2))
    harness.fence(2)
    harness.fence(1)
    harness.advance(4_000)
    harness.start(2, life=2)
    assert harness.partition("t").leader == harness.partition("u").leader == NO_LEADER
    change = ConfigChange("unclean.leader.election.enable", Operation.SET, "true")
    harness.submit(AlterConfigs((ConfigAlteration(topic_resource("t"), (change,)),), validate_only=True))
    assert harness.partition("t").leader == NO_LEADER
    harness.submit(AlterConfigs((ConfigAlteration(topic_resource("t"), (change,)),)))
    assert harness.partition("t").leader == 2 and harness.partition("t").recovering
    assert harness.partition("u").leader == NO_LEADER, "it was said of the other topic"
    assert harness.facts.count(UncleanElection("t", 0, 2, (1,))) == 1
    harness.submit(AlterConfigs((ConfigAlteration(DEFAULT_BROKER, (change,)),)))
    assert harness.partition("u").leader == 2, "for all brokers is for all topics that set nothing"
