"""The topic that is measured: the one that was named, made where it is missing, or one of this run's own."""

import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cli.bench.door import Door
from kraftpy.errors import ConfigurationError, KraftpyError, UnknownTopicOrPartitionError

PREFIX = "kraftpy-bench-"
PARTITIONS = 6
REPLICATION_FACTOR_MAX = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """What a topic that is made looks like. None: 6 partitions, on up to 3 brokers."""

    partitions: int | None
    replication_factor: int | None
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topic:
    """The topic as it is. `replication_factor` is None where it was there before."""

    name: str
    partitions: int
    replication_factor: int | None


@contextmanager
def topic_of(door: Door, name: str | None, shape: Shape) -> Iterator[Topic]:
    """The topic within the block. One that was there before must have as many partitions as `shape` names."""
    if name is None:
        made = _make(door, PREFIX + secrets.token_hex(4), shape)
        try:
            yield made
        finally:
            _delete(door, made.name)
        return
    partitions = door.partitions_of(name)
    if partitions is None:
        yield _make(door, name, shape)
        return
    if shape.partitions not in (None, partitions):
        raise ConfigurationError(f"topic {name} has {partitions} partitions, not {shape.partitions}")
    yield Topic(name, partitions, None)


def existing(door: Door, name: str) -> Topic:
    """A topic that is to be read. Raises `UnknownTopicOrPartitionError`."""
    partitions = door.partitions_of(name)
    if partitions is None:
        raise UnknownTopicOrPartitionError(f"there is no topic {name}")
    return Topic(name, partitions, None)


def _make(door: Door, name: str, shape: Shape) -> Topic:
    partitions = shape.partitions or PARTITIONS
    factor = shape.replication_factor or min(door.brokers(), REPLICATION_FACTOR_MAX)
    config = {"min.insync.replicas": str(max(factor - 1, 1)), **shape.config}
    door.create_topic(name, partitions, factor, config)
    return Topic(name, partitions, factor)


def _delete(door: Door, name: str) -> None:
    try:
        door.delete_topic(name)
    except KraftpyError as error:  # the figures are worth more than the tidiness
        print(f"topic {name} could not be deleted: {error}", file=sys.stderr)
