"""Throttled replication (KIP-73): replicas that catch up take no more than their share of disk and network.

Only replicas *out of sync* are held back, and only those that the topic's settings name: a member of the in-sync set
never waits, or it would hold back producers and drop out. So the throttle paces what a reassignment copies, while new
records reach everybody else as ever.

Both ends have a rate of their own. A leader that has given its share answers such replicas without records; a follower
that has taken its share does not ask for such partitions. `TokenBucket` is pure; time comes in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from broker.metadata.broker_config import FOLLOWER_THROTTLED_RATE, LEADER_THROTTLED_RATE
from broker.metadata.delta import ConfigDelta
from broker.metadata.effective import broker_value
from broker.metadata.image import MetadataImage
from broker.metadata.records import ResourceType
from broker.metadata.topic_config import BY_NAME

UNLIMITED: Final = 2**63 - 1
BURST_MS: Final = 1_000
"""What was not used is kept for so long."""
EVERYBODY: Final = "*"

NOBODY: Final[frozenset[tuple[int, int]]] = frozenset()


class TokenBucket:
    """Bytes that may pass: so many a second on average, and at most a second's worth at once.

    A batch is passed whole while there is anything left, so the bucket may owe; nobody passes before that is paid.
    """

    __slots__ = ("_filled_ms", "_tokens", "rate")

    def __init__(self, rate: int, now_ms: int) -> None:
        self.rate = rate  # bytes a second
        self._tokens = float(rate)  # <= one second's worth; below 0: owed
        self._filled_ms = now_ms

    def set_rate(self, rate: int, now_ms: int) -> None:
        """What is owed stays owed."""
        self._fill(now_ms)
        self.rate = rate
        self._tokens = min(self._tokens, float(rate))

    def take(self, size_bytes: int, now_ms: int) -> None:
        self._fill(now_ms)
        self._tokens -= size_bytes

    def wait_ms(self, now_ms: int) -> int:
        """How long until something may pass; 0: now."""
        if self.rate >= UNLIMITED:
            return 0
        self._fill(now_ms)
        return 0 if self._tokens > 0 else int(-self._tokens * 1_000 / self.rate) + 1

    def _fill(self, now_ms: int) -> None:
        if now_ms > self._filled_ms:
            earned = self.rate * (now_ms - self._filled_ms) / 1_000
            self._tokens = min(self._tokens + earned, self.rate * BURST_MS / 1_000)
            self._filled_ms = now_ms


@dataclass(frozen=True, slots=True)
class ThrottledReplicas:
    """Which replicas of a topic a throttle concerns."""

    everybody: bool = False
    pairs: frozenset[tuple[int, int]] = NOBODY  # (partition, broker id)

    def holds(self, partition: int, broker_id: int) -> bool:
        return self.everybody or (partition, broker_id) in self.pairs


NONE_THROTTLED: Final = ThrottledReplicas()


def throttled_replicas(elements: tuple[str, ...]) -> ThrottledReplicas:
    """What `*.replication.throttled.replicas` lists: "*", or "partition:broker" each. Others mean nothing."""
    if EVERYBODY in elements:
        return ThrottledReplicas(everybody=True)
    pairs = [element.split(":") for element in elements]
    numbers = [(int(pair[0]), int(pair[1])) for pair in pairs if len(pair) == 2 and all(map(str.isdecimal, pair))]
    return ThrottledReplicas(pairs=frozenset(numbers)) if numbers else NONE_THROTTLED


class Throttle:
    """One end's: its rate, and the replicas that it concerns, by topic."""

    def __init__(self, now_ms: int = 0) -> None:
        self._bucket = TokenBucket(UNLIMITED, now_ms)
        self._replicas: dict[str, ThrottledReplicas] = {}  # topics that throttle nobody are not in it

    def set_rate(self, rate: int, now_ms: int) -> None:
        if rate != self._bucket.rate:
            self._bucket.set_rate(rate, now_ms)

    def set_replicas(self, replicas: Mapping[str, ThrottledReplicas]) -> None:
        """Of these topics, from now on."""
        for topic, each in replicas.items():
            if each == NONE_THROTTLED:
                self._replicas.pop(topic, None)
            else:
                self._replicas[topic] = each

    def concerns(self, topic: str, partition: int, broker_id: int) -> bool:
        """Whether the replica on `broker_id` is to be held back while it is out of sync."""
        throttled = self._replicas.get(topic)
        return throttled is not None and self._bucket.rate < UNLIMITED and throttled.holds(partition, broker_id)

    def take(self, size_bytes: int, now_ms: int) -> None:
        self._bucket.take(size_bytes, now_ms)

    def wait_ms(self, now_ms: int) -> int:
        """How long those that it concerns have to wait; 0: they may go on."""
        return self._bucket.wait_ms(now_ms)


class Throttles:
    """Both ends of one broker, as the metadata sets them."""

    def __init__(self, node_id: int, now_ms: int) -> None:
        self.leader = Throttle(now_ms)  # of what followers read here
        self.follower = Throttle(now_ms)  # of what is copied here
        self._node_id = node_id

    def configure(self, image: MetadataImage, deltas: Iterable[ConfigDelta], now_ms: int) -> None:
        """Follow changed settings."""
        ends = (
            (self.leader, LEADER_THROTTLED_RATE, "leader.replication.throttled.replicas"),
            (self.follower, FOLLOWER_THROTTLED_RATE, "follower.replication.throttled.replicas"),
        )
        for delta in deltas:
            for throttle, rate, replicas in ends:
                if delta.resource.type is ResourceType.TOPIC:
                    listed = BY_NAME[replicas].parse(image.config(delta.resource).get(replicas, ""))
                    assert isinstance(listed, tuple)
                    throttle.set_replicas({delta.resource.name: throttled_replicas(listed)})
                elif delta.resource.name in ("", str(self._node_id)):
                    throttle.set_rate(broker_value(image, rate, self._node_id), now_ms)
