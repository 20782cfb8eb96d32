"""The node's own settings change while it runs: the nearest source wins, and each follower hears of changes only."""

from uuid import UUID

import pytest

from broker.dynamic_settings import DynamicSettings
from broker.metadata.broker_config import NODE_SETTINGS, broker_setting
from broker.metadata.image import MetadataImage
from broker.metadata.records import (
    DEFAULT_BROKER,
    ConfigRecord,
    ConfigResource,
    MetadataRecord,
    TopicRecord,
    broker_resource,
)
from kraftpy.errors import InvalidConfigError

LEVEL = "log.level"


class Node:
    def __init__(self, **static: str) -> None:
        self.image = MetadataImage.EMPTY
        self.heard: list[tuple[str, str]] = []
        followers = {
            setting.name: lambda value, name=setting.name: self.heard.append((name, value)) for setting in NODE_SETTINGS
        }
        given = {name.replace("_", "."): value for name, value in static.items()}
        self.settings = DynamicSettings(1, given, followers)

    def commit(self, *records: MetadataRecord) -> list[tuple[str, str]]:
        """What followers hear of it."""
        self.heard.clear()
        self.image, delta = self.image.apply(records, self.image.end_offset + len(records), 1)
        self.settings.apply(self.image, delta)
        return self.heard

    def set(self, resource: ConfigResource, value: str | None) -> list[tuple[str, str]]:
        return self.commit(ConfigRecord(resource, LEVEL, value))


def test_one_broker_before_all_brokers_before_the_file_before_the_default() -> None:
    node = Node(log_level="WARNING")
    assert node.set(DEFAULT_BROKER, "DEBUG") == [(LEVEL, "DEBUG")]
    assert node.set(broker_resource(1), "ERROR") == [(LEVEL, "ERROR")]
    assert node.set(DEFAULT_BROKER, "INFO") == [], "hidden by the broker's own"
    assert node.set(broker_resource(1), None) == [(LEVEL, "INFO")]
    assert node.set(DEFAULT_BROKER, None) == [(LEVEL, "WARNING")], "back to the file"


def test_what_concerns_others_is_not_heard() -> None:
    node = Node()
    assert node.set(broker_resource(2), "ERROR") == []
    assert node.commit(ConfigRecord(DEFAULT_BROKER, "log.retention.ms", "5")) == []
    assert node.commit(TopicRecord("t", UUID(int=7))) == []
    assert node.set(DEFAULT_BROKER, "INFO") == [], "the default, said aloud"


@pytest.mark.parametrize("value", ["LOUD", "", "debug"])
def test_a_value_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(InvalidConfigError, match=r"log\.level"):
        broker_setting(LEVEL, cluster_wide=True).parse(value)


@pytest.mark.parametrize("name", ["listeners", "num.recovery.threads.per.data.dir", "log.dirs", "node.id"])
def test_what_needs_a_restart_is_refused_with_that_sentence(name: str) -> None:
    with pytest.raises(InvalidConfigError, match=r"is read when a broker starts: .* restart"):
        broker_setting(name, cluster_wide=False)
