"""The one logger that Kafka's tools see of a broker (BROKER_LOGGER, KIP-412): `root`. Its level is `log.level`. Pure.

It may be set, and as in Kafka not unset. Unlike in Kafka a level outlives the broker's process, as a setting does.
"""

from collections.abc import Iterable
from typing import Final

from broker.kafka.setting_words import ROOT_LOGGER_SOURCE
from kraftpy.errors import InvalidConfigError, InvalidRequestError
from kraftpy.pb.admin_pb2 import AlterConfigsResource, ConfigEntry

ROOT: Final = "root"
LOG_LEVEL: Final = "log.level"
LEVELS: Final = {"DEBUG": "DEBUG", "INFO": "INFO", "WARN": "WARNING", "ERROR": "ERROR"}
"""Values of the setting, by Kafka's names of levels."""
_KAFKAS: Final = {own: kafkas for kafkas, own in LEVELS.items()}


def loggers(entries: Iterable[ConfigEntry]) -> list[ConfigEntry]:
    """The root logger, from the settings of its broker."""
    return [
        ConfigEntry(
            name=ROOT,
            value=_KAFKAS.get(entry.value.upper(), entry.value),
            source=ROOT_LOGGER_SOURCE,
            documentation=entry.documentation,
        )
        for entry in entries
        if entry.name == LOG_LEVEL
    ]


def of_the_broker(changes: AlterConfigsResource) -> AlterConfigsResource:
    """What changes of loggers mean for the settings of their broker.

    Raises `InvalidRequestError`, and `InvalidConfigError` for another logger or level.
    """
    if changes.replace or changes.append or changes.subtract:
        raise InvalidRequestError("levels of loggers are set one by one")
    for name in (*changes.set, *changes.unset):
        if name != ROOT:
            raise InvalidConfigError(f"there is no logger {name[:60]}, only {ROOT}")
    if changes.unset:
        raise InvalidRequestError(f"the level of {ROOT} cannot be removed; {LOG_LEVEL} of the broker can be unset")
    meant = AlterConfigsResource()
    for level in changes.set.values():
        if level not in LEVELS:
            raise InvalidConfigError(f"{level[:60]} is no level of {ROOT}: {', '.join(LEVELS)}")
        meant.set[LOG_LEVEL] = LEVELS[level]
    return meant
