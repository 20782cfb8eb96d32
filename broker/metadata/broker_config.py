"""The broker settings that can be changed while the cluster runs (KIP-226), for one broker or for all.

They are the defaults of topic settings, under their broker names; some that no topic has, which are read in the
metadata (`OWN_SETTINGS`); and a few of the nodes' own (`NODE_SETTINGS`). Everything else a broker is told at its start,
from its file (`broker.settings`), and changes by a restart: asking for it here is refused with that sentence.
"""

import re
from dataclasses import replace
from sys import float_info
from typing import Final

from broker.metadata.setting import DynamicSetting, Kind, unknown_setting
from broker.metadata.topic_config import BY_NAME as TOPIC_SETTINGS_BY_NAME
from broker.metadata.topic_config import TOPIC_SETTINGS
from broker.settings import BY_NAME as STATIC_SETTINGS
from kraftpy.errors import InvalidConfigError
from kraftpy.runtime.limits import INT64_MAX

TOPIC_NAME_OF: Final = {setting.broker_name: setting.name for setting in TOPIC_SETTINGS if setting.broker_name}
"""The topic setting whose default a broker setting is."""

LEADER_THROTTLED_RATE: Final = "leader.replication.throttled.rate"
FOLLOWER_THROTTLED_RATE: Final = "follower.replication.throttled.rate"

CORDONED_LOG_DIRS: Final = "cordoned.log.dirs"
ALL_LOG_DIRS: Final = "*"

OWN_SETTINGS: Final = (
    DynamicSetting(
        CORDONED_LOG_DIRS,
        Kind.LIST,
        "",
        "* keeps new replicas away from the broker (KIP-1066): topics are created and grown elsewhere, and nothing is "
        "moved there. What it holds stays, and is served. Single directories cannot be named.",
        pattern=re.escape(ALL_LOG_DIRS),
    ),
    DynamicSetting(
        FOLLOWER_THROTTLED_RATE,
        Kind.LONG,
        str(INT64_MAX),
        "Bytes a second that a broker copies at most, of replicas out of sync that "
        "follower.replication.throttled.replicas names.",
        minimum=1,
    ),
    DynamicSetting(
        LEADER_THROTTLED_RATE,
        Kind.LONG,
        str(INT64_MAX),
        "Bytes a second that a broker gives at most to replicas out of sync that "
        "leader.replication.throttled.replicas names.",
        minimum=1,
    ),
)
"""No topic has a default of these: replication, placement and moves read them in the metadata."""

BROKER_SETTINGS: Final = tuple(
    sorted(
        (
            *OWN_SETTINGS,
            *[
                replace(setting, name=setting.broker_name, broker_name="")
                for setting in TOPIC_SETTINGS
                if setting.broker_name
            ],
        ),
        key=lambda setting: setting.name,
    )
)
"""By name."""

NODE_SETTINGS: Final = (
    DynamicSetting(
        "log.cleaner.backoff.ms",
        Kind.LONG,
        "15000",
        "How long compaction pauses where it found nothing to do, or failed.",
        minimum=1,
    ),
    DynamicSetting(
        "log.cleaner.dedupe.buffer.size",
        Kind.LONG,
        str(128 << 20),
        "Memory for keys of all that a broker compacts at a time, about 250 bytes each; from the next log on.",
        minimum=1 << 20,
    ),
    DynamicSetting(
        "log.cleaner.io.max.bytes.per.second",
        Kind.DOUBLE,
        str(float_info.max),
        "How fast compaction on a broker reads and writes, both counted, on average; holds at once.",
        minimum=1,
        maximum=float_info.max,
    ),
    DynamicSetting(
        "log.cleaner.threads",
        Kind.INT,
        "1",
        "Logs that a broker compacts at a time, each by a process of its own.",
        minimum=1,
        maximum=32,
    ),
    DynamicSetting(
        "log.level",
        Kind.STRING,
        "INFO",
        "What the node tells in its own log: DEBUG, INFO, WARNING or ERROR.",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    ),
    DynamicSetting(
        "log.scrub.interval.ms",
        Kind.LONG,
        str(7 * 24 * 3_600_000),
        "How often a broker reads each closed segment again, to find what the disk has changed.",
        minimum=1,
    ),
    DynamicSetting(
        "log.scrub.io.max.bytes.per.second",
        Kind.DOUBLE,
        str(float(10 << 20)),
        "How fast a broker reads closed segments again, all directories together; holds at once.",
        minimum=1,
        maximum=float_info.max,
    ),
    DynamicSetting(
        "replica.alter.log.dirs.io.max.bytes.per.second",
        Kind.LONG,
        str(INT64_MAX),
        "How fast each replica that moves between directories of a broker is copied.",
        minimum=1,
    ),
)
"""By name. Whoever adds one has it followed: `HeavyWork.settings`, or `DynamicSettings` in `broker.data_plane`."""

BY_NAME: Final = {setting.name: setting for setting in (*BROKER_SETTINGS, *NODE_SETTINGS)}

CLUSTER_WIDE: Final = frozenset({"min.insync.replicas", "unclean.leader.election.enable"})
"""Settings that the controller and every leader must read alike: only the default of all brokers may have them."""

ONE_BROKER: Final = frozenset({CORDONED_LOG_DIRS})
"""Settings that make sense for single brokers only."""

_OTHER_UNIT: Final = {
    "log.retention.hours": "log.retention.ms",
    "log.retention.minutes": "log.retention.ms",
    "log.roll.hours": "log.roll.ms",
    "log.roll.jitter.hours": "log.roll.jitter.ms",
}


def broker_setting(name: str, *, cluster_wide: bool) -> DynamicSetting:
    """The setting called `name`, for all brokers (`cluster_wide`) or for one.

    Raises `InvalidConfigError`: the name is unknown, or cannot be changed while the broker runs, or not for one broker.
    """
    setting = BY_NAME.get(name)
    if setting is None:
        raise _not_dynamic(name)
    if name in CLUSTER_WIDE and not cluster_wide:
        raise InvalidConfigError(f"{name} holds for all brokers: set it without naming one")
    if name in ONE_BROKER and cluster_wide:
        raise InvalidConfigError(f"{name} holds for one broker: name it")
    return setting


def _not_dynamic(name: str) -> InvalidConfigError:
    other = _OTHER_UNIT.get(name)
    if other is not None:
        return InvalidConfigError(f"{name} cannot be changed while brokers run; {other} can")
    if name in TOPIC_SETTINGS_BY_NAME:
        other = TOPIC_SETTINGS_BY_NAME[name].broker_name
        return InvalidConfigError(
            f"{name} is a setting of topics; {f'its default is {other}' if other else 'set it there'}"
        )
    if name in STATIC_SETTINGS:
        return InvalidConfigError(f"{name} is read when a broker starts: change its server.properties and restart it")
    return unknown_setting(name, BY_NAME)
