"""Which brokers hold a new partition. Pure; chance only breaks ties, so that many small topics do not pile up.

For each partition, one after the other:
1. The leader is the live broker that leads the fewest of this topic, then the fewest of all.
2. Each further replica goes where, in this order of weight: the broker is live; its host holds the fewest of this
   partition's replicas; its rack does; it has this place behind this leader least often (so that a dead broker's
   leaderships spread over all others, as Kafka's shifted lists do); it holds the fewest of this topic; and of all.

Invariants: never two replicas on one broker. Distinct hosts where there are enough with a live broker. Replicas over
racks within one, hosts permitting. Leaders of a topic within one over the live brokers; and of all topics, if they were
before.

Hosts weigh more than racks because a host always fails as a whole; where racks consist of hosts, as they should,
distinct racks are distinct hosts anyway. A broker without a host label is a host of its own; brokers without a rack
share one.
Costs partitions × replicas × brokers: about 0.1 s for 10,000 × 3 × 5 (`bench/placement.py`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kraftpy.errors import InvalidReplicationFactorError

if TYPE_CHECKING:
    from random import Random

Assignment = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A broker that may hold replicas."""

    broker_id: int
    rack: str | None = None
    host: str = ""
    live: bool = True  # others get replicas only where live ones do not suffice, and no leaderships
    leaders: int = 0  # partitions of all topics that it is the preferred leader of
    replicas: int = 0  # of all topics

    @property
    def machine(self) -> str:
        return self.host or f"broker {self.broker_id}"


def place(
    candidates: Sequence[Candidate],
    partitions: int,
    replication_factor: int,
    random: "Random",
    existing: Sequence[Assignment] = (),
) -> list[Assignment]:
    """Replicas for `partitions` more partitions of a topic that has `existing` ones; the preferred leader first.

    Raises `InvalidReplicationFactorError` where there are too few brokers, or none that could lead.
    """
    if replication_factor < 1:
        raise InvalidReplicationFactorError(f"a replication factor is at least 1, not {replication_factor}")
    if len(candidates) < replication_factor:
        raise InvalidReplicationFactorError(
            f"a replication factor of {replication_factor} needs as many brokers; {len(candidates)} are registered: "
            f"start {replication_factor - len(candidates)} more, or ask for {len(candidates) or 'fewer'}"
        )
    if not any(candidate.live for candidate in candidates):
        raise InvalidReplicationFactorError("no broker is live at the moment; try again when one has caught up")
    topic = _Topic(candidates, random, existing)
    return [topic.place(replication_factor) for _ in range(partitions)]


class _Topic:
    """The counts that one topic's placement goes by."""

    def __init__(self, candidates: Sequence[Candidate], random: "Random", existing: Sequence[Assignment]) -> None:
        self._candidates = list(candidates)
        random.shuffle(self._candidates)  # min() takes the first of equals
        self._live = [candidate for candidate in self._candidates if candidate.live]
        self._leaders = Counter(replicas[0] for replicas in existing)
        self._replicas = Counter(broker_id for replicas in existing for broker_id in replicas)
        self._places = Counter(
            (replicas[0], place, broker_id) for replicas in existing for place, broker_id in enumerate(replicas)
        )
        self._leaders_ever = Counter({candidate.broker_id: candidate.leaders for candidate in candidates})
        self._replicas_ever = Counter({candidate.broker_id: candidate.replicas for candidate in candidates})

    def place(self, replication_factor: int) -> Assignment:
        leader = min(self._live, key=self._leader_weight)
        chosen = [leader]
        for _ in range(replication_factor - 1):
            chosen.append(self._next_follower(leader, chosen))
        return self._count(tuple(candidate.broker_id for candidate in chosen))

    def _leader_weight(self, candidate: Candidate) -> tuple[int, int, int]:
        broker_id = candidate.broker_id
        return self._leaders[broker_id], self._leaders_ever[broker_id], self._replicas[broker_id]

    def _next_follower(self, leader: Candidate, chosen: Sequence[Candidate]) -> Candidate:
        machines = Counter(candidate.machine for candidate in chosen)
        racks = Counter(candidate.rack for candidate in chosen)

        def weight(candidate: Candidate) -> tuple[int, ...]:
            broker_id = candidate.broker_id
            return (
                not candidate.live,
                machines[candidate.machine],
                racks[candidate.rack],
                self._places[leader.broker_id, len(chosen), broker_id],
                self._replicas[broker_id],
                self._replicas_ever[broker_id],
            )

        return min((candidate for candidate in self._candidates if candidate not in chosen), key=weight)

    def _count(self, replicas: Assignment) -> Assignment:
        self._leaders[replicas[0]] += 1
        self._leaders_ever[replicas[0]] += 1
        for place, broker_id in enumerate(replicas):
            self._replicas[broker_id] += 1
            self._replicas_ever[broker_id] += 1
            self._places[replicas[0], place, broker_id] += 1
        return replicas
