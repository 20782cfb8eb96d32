"""The node's own settings change while it runs: the nearest source wins, and each follower hears of changes only."""

import logging
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from broker.dynamic_settings import DynamicSettings
from broker.maintenance.config import CompactionConfig, ScrubConfig
from broker.maintenance.heavy_work import HeavyWork
from broker.maintenance.inline import InlineWorker
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
from kraftpy.runtime.clock import SystemClock

LEVEL = "log.level"


class Node:
    def __init__(self, **static: str) -> None:
        self.image = MetadataImage.EMPTY
        self.heard: list[tuple[str, str]] = []
        followers: dict[str, Callable[[str], None]] = {
            setting.name: partial(self.hear, setting.name) for setting in NODE_SETTINGS
        }
        self.replace(followers)
        given = {name.replace("_", "."): value for name, value in static.items()}
        self.settings = DynamicSettings(1, given, followers)

    def hear(self, name: str, value: str) -> None:
        self.heard.append((name, value))

    def replace(self, followers: dict[str, Callable[[str], None]]) -> None:
        """Put others in the place of those who only listen."""

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


class RealNode(Node):
    """Whose followers do what they do in a node."""

    def replace(self, followers: dict[str, Callable[[str], None]]) -> None:
        nobody: Any = SimpleNamespace(repairs=SimpleNamespace(), log_damaged=None)
        self.heavy_work = HeavyWork(
            nobody, lambda: InlineWorker(nobody), SystemClock(), CompactionConfig(), ScrubConfig(), []
        )
        self.logger = logging.Logger("of the node")
        followers |= {**self.heavy_work.settings(), LEVEL: self.logger.setLevel}


def test_back_to_a_file_that_spells_it_in_its_own_way() -> None:
    node = RealNode(log_level="info", log_cleaner_threads="", log_scrub_io_max_bytes_per_second=" 1e6")
    threads, pace = "log.cleaner.threads", "log.scrub.io.max.bytes.per.second"
    for name, value in ((LEVEL, "DEBUG"), (threads, "2"), (pace, "5")):
        node.commit(ConfigRecord(DEFAULT_BROKER, name, value))
    assert (node.logger.level, node.heavy_work.compactor.config.threads) == (logging.DEBUG, 2)
    for name in (LEVEL, threads, pace):
        node.commit(ConfigRecord(DEFAULT_BROKER, name, None))
    assert (node.logger.level, node.heavy_work.compactor.config.threads) == (logging.INFO, 1)
    assert node.heavy_work.scrubber.config.bytes_per_second == 1e6


def test_a_value_that_a_follower_cannot_take_is_told_and_the_old_one_stays(caplog: pytest.LogCaptureFixture) -> None:
    node = RealNode(log_cleaner_threads="many")
    threads = "log.cleaner.threads"
    node.commit(ConfigRecord(DEFAULT_BROKER, threads, "2"))
    node.commit(ConfigRecord(DEFAULT_BROKER, threads, None), ConfigRecord(DEFAULT_BROKER, LEVEL, "ERROR"))
    assert node.heavy_work.compactor.config.threads == 2 and node.logger.level == logging.ERROR
    assert "log.cleaner.threads=many cannot be followed" in caplog.text
    node.commit(ConfigRecord(DEFAULT_BROKER, threads, "3"))
    assert node.heavy_work.compactor.config.threads == 3


@pytest.mark.parametrize("value", ["LOUD", "", "debug"])
def test_a_value_that_cannot_be_is_refused(value: str) -> None:
    with pytest.raises(InvalidConfigError, match=r"log\.level"):
        broker_setting(LEVEL, cluster_wide=True).parse(value)


@pytest.mark.parametrize("name", ["listeners", "num.recovery.threads.per.data.dir", "log.dirs", "node.id"])
def test_what_needs_a_restart_is_refused_with_that_sentence(name: str) -> None:
    with pytest.raises(InvalidConfigError, match=r"is read when a broker starts: .* restart"):
        broker_setting(name, cluster_wide=False)
