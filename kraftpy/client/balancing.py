"""Which partitions to move so that the load is even: a pure plan, which `Admin.plan_rebalance` makes and shows.

In this order, each as far as it needs and no further, because every copied replica costs a disk and a network:
1. nothing stays on brokers that are to be emptied, nor on ones that nobody knows;
2. replicas of one partition stand on distinct hosts, and are spread over racks, where that can be had;
3. brokers in service hold the same number of replicas, within one;
4. they are the preferred leader of the same number of partitions, within one. That copies nothing: it only turns lists.

Invariants: no partition gets another replication factor, or two replicas on one broker. A plan for what a plan has made
is empty. What is on a broker out of service stays: it is expected back, unless it is to be emptied. So it does on a
cordoned one, to which nothing comes, either. Ties go to the lower broker id and the earlier name, so that the same
cluster always gives the same plan.

A broker without a host label is a host of its own; brokers without a rack share one. Costs about replicas to move
times topics: some seconds at 10,000 partitions.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from kraftpy.client.admin_values import NodeDescription, TopicDescription
from kraftpy.errors import InvalidReplicationFactorError

__all__ = ["PlannedMove", "RebalancePlan", "plan_rebalance"]

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """One partition: its replicas now and as planned, the preferred leader first."""

    topic: str
    partition: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def adding(self) -> tuple[int, ...]:
        """Brokers that get a copy."""
        return tuple(node_id for node_id in self.after if node_id not in self.before)

    @property
    def removing(self) -> tuple[int, ...]:
        return tuple(node_id for node_id in self.before if node_id not in self.after)


@dataclass(frozen=True, slots=True)
class BrokerShare:
    """What one broker holds before and after a plan."""

    node_id: int
    replicas_before: int
    replicas_after: int
    leaders_before: int  # partitions that it is the preferred leader of
    leaders_after: int


@dataclass(frozen=True, slots=True)
class RebalancePlan:
    """The moves by topic and partition, and what they make of every broker. No moves: all is even already."""

    moves: tuple[PlannedMove, ...]
    shares: tuple[BrokerShare, ...]

    @property
    def copies(self) -> int:
        """Replicas that have to be copied; the other moves only change who leads."""
        return sum(len(move.adding) for move in self.moves)


def plan_rebalance(
    brokers: Sequence[NodeDescription], topics: Sequence[TopicDescription], empty: Collection[int] = ()
) -> RebalancePlan:
    """The moves that make the load even, and leave nothing on the brokers `empty`.

    Raises `InvalidReplicationFactorError` where too few brokers would be left for a partition's replicas.
    """
    before = {
        (topic.name, partition.partition): _meant(partition.replicas, partition.adding_replicas)
        for topic in sorted(topics, key=lambda topic: topic.name)
        for partition in topic.partitions
    }
    load = _Load(brokers, before, empty)
    load.empty()
    load.spread()
    load.even_replicas()
    while load.spread():  # a move for the counts may have opened a way to spread better, which costs counts again
        load.even_replicas()
    load.even_leaders()
    moves = tuple(
        PlannedMove(*place, tuple(before[place]), tuple(load.replicas[place]))
        for place in before
        if tuple(before[place]) != tuple(load.replicas[place])
    )
    return RebalancePlan(moves, _shares(brokers, before, load.replicas))


def _meant(replicas: Sequence[int], adding: Sequence[int]) -> tuple[int, ...]:
    return tuple(node_id for node_id in replicas if node_id not in adding)


def _shares(
    brokers: Iterable[NodeDescription], before: dict[Place, tuple[int, ...]], after: dict[Place, list[int]]
) -> tuple[BrokerShare, ...]:
    held = [Counter(node_id for replicas in each.values() for node_id in replicas) for each in (before, after)]
    led = [Counter(replicas[0] for replicas in each.values() if replicas) for each in (before, after)]
    return tuple(
        BrokerShare(node_id, held[0][node_id], held[1][node_id], led[0][node_id], led[1][node_id])
        for node_id in sorted(broker.node_id for broker in brokers)
    )


class _Load:
    """Who holds what, as the plan grows."""

    def __init__(
        self, brokers: Sequence[NodeDescription], before: dict[Place, tuple[int, ...]], empty: Collection[int]
    ) -> None:
        self.replicas = {place: list(replicas) for place, replicas in before.items()}
        self._before = before
        self._hosts = {broker.node_id: broker.host_label or f"broker {broker.node_id}" for broker in brokers}
        self._racks = {broker.node_id: broker.rack for broker in brokers}
        self._usable = sorted(
            broker.node_id for broker in brokers if not (broker.fenced or broker.cordoned or broker.node_id in empty)
        )
        self._is_usable = frozenset(self._usable)
        self._gone = frozenset(empty)
        self._held: dict[int, dict[str, dict[int, None]]] = {node_id: {} for node_id in self._usable}
        self._counts = Counter[int]()
        self._copied = Counter[int]()  # replicas that are there by this plan only
        for place, replicas in self.replicas.items():
            for node_id in replicas:
                self._count(node_id, place)

    # --- the four steps ---

    def empty(self) -> None:
        """Move everything away from brokers that are to be emptied or that nobody knows."""
        for place, replicas in self.replicas.items():
            for node_id in list(replicas):
                if node_id in self._gone or node_id not in self._hosts:
                    others = [each for each in self._usable if each not in replicas]
                    if not others:
                        raise InvalidReplicationFactorError(
                            f"{place[0]}-{place[1]} has {len(replicas)} replicas, and broker {node_id} cannot be "
                            f"emptied with {len(self._usable)} others in service: start one more, or lower the "
                            "replication factor first"
                        )
                    self._move(place, node_id, min(others, key=lambda each: self._weight(place, node_id, each)))

    def spread(self) -> bool:
        """Distinct hosts, then racks, where a partition can have them. False: nothing could be better."""
        moved = False
        for place, replicas in self.replicas.items():
            better = True
            while better:
                better = False
                now = self._crowding(replicas)
                if now == (0, 0):
                    break
                options = [
                    (self._weight(place, node_id, other), node_id, other)
                    for node_id in replicas
                    if node_id in self._is_usable
                    for other in self._usable
                    if other not in replicas and self._crowding(_replaced(replicas, node_id, other)) < now
                ]
                if options:
                    _, node_id, other = min(options)
                    self._move(place, node_id, other)
                    moved = better = True
        return moved

    def even_replicas(self) -> None:
        """The same number on every broker in service, within one."""
        while self._even_one():
            pass

    def even_leaders(self) -> None:
        """The same number of preferred leaderships on every broker in service, within one."""
        led: dict[int, dict[Place, None]] = {node_id: {} for node_id in self._usable}
        for place, replicas in self.replicas.items():
            if replicas[0] in led:
                led[replicas[0]][place] = None
        while True:
            path = self._path_of_leaders(led)
            if not path:
                return
            for place, giver, taker in path:
                replicas = self.replicas[place]
                at = replicas.index(taker)
                replicas[0], replicas[at] = taker, giver
                del led[giver][place]
                led[taker][place] = None

    # --- choosing ---

    def _even_one(self) -> bool:
        by_count = sorted(self._usable, key=lambda node_id: (self._counts[node_id], node_id))
        for high in reversed(by_count):
            for low in by_count:
                if self._counts[high] - self._counts[low] < 2:
                    break
                place = self._movable(high, low)
                if place is not None:
                    self._move(place, high, low)
                    return True
        return False

    def _movable(self, high: int, low: int) -> Place | None:
        """A partition of `high` that `low` can take, of the topic of which `high` has most more than `low`.

        Of that topic: one whose replica there is new in this plan costs no further copy; then one that follows there.
        """
        best: tuple[int, Place] | None = None
        for topic, numbers in self._held[high].items():
            surplus = len(numbers) - len(self._held[low].get(topic, ()))
            if best is not None and surplus <= best[0]:
                continue
            place = self._cheapest(topic, high, low)
            if place is not None:
                best = surplus, place
        return None if best is None else best[1]

    def _cheapest(self, topic: str, high: int, low: int) -> Place | None:
        """The first partition of the topic that `low` can take from `high`: one that costs nothing more, else the first
        that follows there, else any."""
        follows = leads = None
        for number in self._held[high][topic]:
            place = (topic, number)
            if low in self.replicas[place] or not self._may_replace(place, high, low):
                continue
            if high not in self._before[place]:
                return place
            if self.replicas[place][0] == high:
                leads = leads or place
            elif self._copied[high]:
                follows = follows or place  # there may be one that is new there
            else:
                return place
        return follows or leads

    def _may_replace(self, place: Place, node_id: int, other: int) -> bool:
        replicas = self.replicas[place]
        return other not in replicas and self._crowding(_replaced(replicas, node_id, other)) <= self._crowding(replicas)

    def _path_of_leaders(self, led: dict[int, dict[Place, None]]) -> list[tuple[Place, int, int]]:
        """Leaderships to hand on, each to another replica, from a broker with many to one with two fewer or less."""
        for start in sorted(led, key=lambda node_id: (-len(led[node_id]), node_id)):
            came: dict[int, tuple[Place, int]] = {}
            queue = deque([start])
            while queue:
                giver = queue.popleft()
                for place in led[giver]:
                    for taker in self.replicas[place][1:]:
                        if taker not in led or taker == start or taker in came:
                            continue
                        came[taker] = place, giver
                        if len(led[start]) - len(led[taker]) >= 2:
                            return _path(came, start, taker)
                        queue.append(taker)
        return []

    def _weight(self, place: Place, node_id: int, other: int) -> tuple[tuple[int, int], int, int, int]:
        """How bad it is that `other` takes the replica of `node_id`."""
        crowding = self._crowding(_replaced(self.replicas[place], node_id, other))
        return crowding, len(self._held[other].get(place[0], ())), self._counts[other], other

    def _crowding(self, replicas: Sequence[int]) -> tuple[int, int]:
        """Pairs on one host, pairs in one rack."""
        hosts = [self._hosts.get(node_id, f"broker {node_id}") for node_id in replicas]
        racks = [self._racks.get(node_id) for node_id in replicas]
        return _pairs(hosts), _pairs(racks)

    # --- upkeep ---

    def _move(self, place: Place, node_id: int, other: int) -> None:
        replicas = self.replicas[place]
        replicas[replicas.index(node_id)] = other
        self._copied[node_id] -= node_id not in self._before[place]
        self._copied[other] += other not in self._before[place]
        self._counts[node_id] -= 1
        if node_id in self._held:
            del self._held[node_id][place[0]][place[1]]
        self._count(other, place)

    def _count(self, node_id: int, place: Place) -> None:
        self._counts[node_id] += 1
        if node_id in self._held:
            self._held[node_id].setdefault(place[0], {})[place[1]] = None


def _replaced(replicas: Sequence[int], node_id: int, other: int) -> list[int]:
    return [other if each == node_id else each for each in replicas]


def _pairs(names: Sequence[str | None]) -> int:
    return sum(count * (count - 1) // 2 for count in Counter(names).values())


def _path(came: dict[int, tuple[Place, int]], start: int, end: int) -> list[tuple[Place, int, int]]:
    path = []
    taker = end
    while taker != start:
        place, giver = came[taker]
        path.append((place, giver, taker))
        taker = giver
    return path[::-1]
