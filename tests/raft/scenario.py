"""A seed becomes a history: a cluster, faults and clients for some seconds, then peace, in which all must end well.

Faults stay within what a quorum promises to survive: any number of crashes, since disks come back with what was
flushed, but a new disk only for a minority of the voters.

Some seeds grow: one voter of five nodes becomes three, then five, then three again, whatever else goes wrong meanwhile.
"""

from dataclasses import dataclass
from functools import partial
from random import Random

from raft.config import RaftConfig
from raft.core import RaftCore
from raft.errors import QuorumBroken
from raft.events import NodeId, Offset, Voter, VoterSet
from tests.raft.cluster import Cluster, MakeCore
from tests.raft.invariants import Violation
from tests.raft.parts import Node

PEACE_MS = 9_000
PLACES = (0, 0, 0, 1, -1)  # where proposals are meant to stand, from the log's end on
GROWTH = (3, 5, 3)  # how many voters there shall be, in equal parts of the time


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    simulated_ms: int
    events: int
    faults: int
    digest: int
    acknowledged: int
    reads: int
    epochs: int


def run_seed(seed: int, make_core: MakeCore = RaftCore, trace: list[str] | None = None) -> Outcome:
    """Raises `Violation`, whose message ends with the command that replays it."""
    try:
        return Scenario(seed, make_core, trace).run()
    except (AssertionError, QuorumBroken, IndexError, KeyError) as error:
        raise Violation(f"{error}\nreplay with: python -m tests.raft.campaign --seed {seed}") from error


class Scenario:
    def __init__(self, seed: int, make_core: MakeCore, trace: list[str] | None) -> None:
        random = self.random = Random(seed * 2 + 1)
        self.grows = random.randrange(5) == 0
        voters = 1 if self.grows else random.choice([3, 3, 3, 5, 5, 1])
        self.seed = seed
        config = RaftConfig(
            keep_alive_ms=random.choice([500, 500, 40, 10]),  # short ones ask while the disk works
            fetch_bytes_max=random.choice([1, 4, 50]),
            snapshot_chunk_bytes_max=random.choice([6, 6, 100]),
        )
        observers = 4 if self.grows else random.randrange(3)
        self.cluster = Cluster(voters, observers, seed, config, make_core, trace)
        network = self.cluster.network
        network.loss = random.choice([0, 0, 10, 100, 250])
        network.duplication = random.choice([0, 0, 20, 150])
        network.latency_max_ms = random.choice([2, 5, 20, 200])
        for node in self.cluster.nodes.values():
            node.clock_began_ms = random.choice([0, random.randrange(1_000_000)])
            node.clock_rate = random.choice([1_000, 1_000, 950, 1_050])
        self.wipes_left = (voters - 1) // 2 if random.randrange(3) == 0 else 0
        self.disks_last = self.wipes_left == 0
        self.snapshot_odds = random.choice([40, 12, 2])
        self.changes_voters = not self.grows and random.randrange(3) == 0
        self.fault_every_ms = random.choice([150, 400, 1_000])
        self.faults = random.sample(FAULTS, random.randrange(2, len(FAULTS)))
        if self.wipes_left:
            self.faults.append(Scenario.new_disk)

    def run(self) -> Outcome:
        cluster = self.cluster
        for node_id in cluster.nodes:
            cluster.at(self.random.randrange(50), partial(cluster.start, node_id))
        end_ms = self.random.choice([3_000, 6_000, 10_000])
        faults, next_fault_ms = 0, 300
        while cluster.now_ms < end_ms:
            cluster.run(self.random.randrange(1, 60))
            self.clients()
            if self.grows and self.random.randrange(4) == 0:
                self.grow_to(GROWTH[min(cluster.now_ms * len(GROWTH) // end_ms, len(GROWTH) - 1)])
            if cluster.now_ms >= next_fault_ms:
                next_fault_ms = cluster.now_ms + self.random.randrange(self.fault_every_ms * 2)
                fault = self.random.choice(self.faults)
                cluster.note(f"fault: {fault.__name__}")
                fault(self)
                faults += 1
        self.make_peace()
        self.check_liveness()
        return Outcome(
            self.seed,
            cluster.now_ms,
            cluster.events,
            faults,
            cluster.trace_digest,
            len(cluster.acknowledged),
            cluster.reads_answered,
            len(cluster.witness.leaders),
        )

    def clients(self) -> None:
        cluster, random = self.cluster, self.random
        for node in cluster.leaders():
            if random.randrange(2):
                place = Offset(node.disk.end_offset + random.choice(PLACES)) if random.randrange(4) == 0 else None
                cluster.propose(node.node_id, random.randrange(1, 4), place)
            if node.paused or random.randrange(6) == 0:
                cluster.read(node.node_id)
        if random.randrange(self.snapshot_odds) == 0:
            cluster.take_snapshot(self.any_node().node_id)
        if self.changes_voters and random.randrange(20) == 0:
            self.change_voters()

    def change_voters(self) -> None:
        for node in self.cluster.leaders():
            if node.core is None or node.core.voters is None:
                continue
            voters = {voter.key.node_id: voter for voter in node.core.voters.voters}
            other = self.any_node()
            present = voters.get(other.node_id)
            if present is not None:
                may_go = len(voters) > 2 and self.disks_last and self.random.randrange(2) == 0
                if present.key == other.key and not may_go:
                    continue
                del voters[other.node_id]
            else:
                voters[other.node_id] = Voter(other.key, f"n{other.node_id}", 9093)
            self.cluster.change_voters(node.node_id, VoterSet(tuple(voters[each] for each in sorted(voters))))

    def grow_to(self, count: int) -> None:
        """One step towards so many voters. Who is added need not be there; who is removed may be the leader."""
        for node in self.cluster.leaders():
            if node.core is None or node.core.voters is None or len(node.core.voters.voters) == count:
                continue
            voters = {voter.key.node_id: voter for voter in node.core.voters.voters}
            if len(voters) > count:
                del voters[self.random.choice(list(voters))]
            else:
                others = [each for each in self.cluster.nodes.values() if each.node_id not in voters]
                other = self.random.choice(others)
                voters[other.node_id] = Voter(other.key, f"n{other.node_id}", 9093)
            self.cluster.change_voters(node.node_id, VoterSet(tuple(voters[each] for each in sorted(voters))))

    def any_node(self) -> Node:
        return self.random.choice(list(self.cluster.nodes.values()))

    # --- faults

    def crash_one(self) -> None:
        self.cluster.crash(self.any_node().node_id)

    def crash_leader(self) -> None:
        for node in self.cluster.leaders():
            self.cluster.crash(node.node_id)

    def crash_in_mid_step(self) -> None:
        node = self.any_node()
        if node.core is not None:
            node.steps_until_crash = self.random.randrange(4)

    def crash_all(self) -> None:
        for node_id in self.cluster.nodes:
            self.cluster.crash(node_id)

    def start_one(self) -> None:
        self.cluster.start(self.any_node().node_id)

    def start_all(self) -> None:
        for node_id in self.cluster.nodes:
            self.cluster.start(node_id)

    def restart_leader(self) -> None:
        """A power failure so short that nobody else notices."""
        for node in self.cluster.leaders():
            self.cluster.crash(node.node_id)
            self.cluster.start(node.node_id)

    def pause_one(self) -> None:
        self.cluster.pause(self.any_node().node_id, self.random.choice([100, 800, 2_500]))

    def pause_leader(self) -> None:
        for node in self.cluster.leaders():
            self.cluster.pause(node.node_id, self.random.choice([300, 1_600, 3_000, 4_500]))

    def freeze_leader(self) -> None:
        """Cut off and paused: when it goes on, it is the last to know."""
        leaders = self.cluster.leaders()
        self._cut({node.node_id: None for node in leaders}, both_ways=True)
        for node in leaders:
            self.cluster.pause(node.node_id, self.random.choice([2_500, 4_000]))

    def isolate_one(self) -> None:
        self._cut({self.any_node().node_id: None}, both_ways=True)

    def isolate_one_way(self) -> None:
        self._cut({self.any_node().node_id: None}, both_ways=False)

    def isolate_leader(self) -> None:
        self._cut({node.node_id: None for node in self.cluster.leaders()}, both_ways=bool(self.random.randrange(3)))

    def split(self) -> None:
        self._cut({node_id: None for node_id in self.cluster.nodes if self.random.randrange(2)}, both_ways=True)

    def _cut(self, group: dict[NodeId, None], both_ways: bool) -> None:
        outward = bool(self.random.randrange(2))
        for inner in group:
            for outer in self.cluster.nodes:
                if outer not in group:
                    if both_ways or outward:
                        self.cluster.network.blocked[(inner, outer)] = None
                    if both_ways or not outward:
                        self.cluster.network.blocked[(outer, inner)] = None

    def heal(self) -> None:
        self.cluster.network.blocked.clear()

    def slow_disk(self) -> None:
        self.any_node().flush_ms_max = self.random.choice([1, 50, 400, 2_500])

    def transfer(self) -> None:
        to = self.any_node().node_id if self.random.randrange(2) else None
        for node in self.cluster.leaders():
            self.cluster.transfer(node.node_id, to)

    def new_disk(self) -> None:
        node = self.any_node()
        if self.wipes_left > 0:
            self.wipes_left -= 1
            self.cluster.wipe(node.node_id)

    # --- the end

    def make_peace(self) -> None:
        cluster, network = self.cluster, self.cluster.network
        cluster.note("peace")
        network.loss = network.duplication = 0
        network.latency_min_ms, network.latency_max_ms = 1, 5
        network.blocked.clear()
        for node in cluster.nodes.values():
            node.flush_ms_max = 8
            node.steps_until_crash = None
            cluster.start(node.node_id)
        cluster.run(PEACE_MS)
        if self.grows:
            self.end_growth()

    def end_growth(self) -> None:
        """In peace every wish is granted: the last size is reached, by one change after the other."""
        for _ in range(60):
            self.grow_to(GROWTH[-1])
            self.cluster.run(100)
        for node in self.cluster.leaders():
            assert node.core is not None and node.core.voters is not None
            if len(node.core.voters.voters) != GROWTH[-1]:
                raise Violation(f"liveness: the voters are {node.core.voters}, wanted are {GROWTH[-1]}")

    def check_liveness(self) -> None:
        """One leader, an entry that it commits reaches everybody, and nobody waits for an answer."""
        cluster = self.cluster
        leaders = cluster.leaders()
        highest = max((node.core.epoch for node in cluster.nodes.values() if node.core), default=0)
        leaders = [node for node in leaders if node.core and node.core.epoch == highest]
        if len(leaders) != 1:
            raise Violation(f"liveness: {len(leaders)} leaders of epoch {highest} after {PEACE_MS} ms of peace")
        body = cluster.propose(leaders[0].node_id)
        cluster.read(leaders[0].node_id)
        cluster.run(1_000)
        if body not in cluster.acknowledged:
            raise Violation("liveness: a proposal is not acknowledged in peace")
        for node in cluster.nodes.values():
            self._check_caught_up(node, leaders[0])
        cluster.witness.check_acknowledged(cluster.acknowledged)

    def _check_caught_up(self, node: Node, leader: Node) -> None:
        assert node.core is not None and leader.core is not None
        if node.core.named_leader != leader.node_id or node.core.epoch != leader.core.epoch:
            raise Violation(f"liveness: {node.node_id} does not know its leader")
        if (node.applied_offset, node.digest) != (leader.applied_offset, leader.digest):
            raise Violation(f"liveness: {node.node_id} applied {node.applied_offset} of {leader.applied_offset}")
        if node.proposals or node.reads:
            raise Violation(f"liveness: {node.node_id} has not answered {node.proposals} {node.reads}")
        if len(node.asked) > len(self.cluster.nodes) * 2 or (node.asked and not node.core.role.name == "leader"):
            raise Violation(f"liveness: {node.node_id} owes answers to {node.asked}")


FAULTS = [
    Scenario.crash_one,
    Scenario.crash_leader,
    Scenario.crash_in_mid_step,
    Scenario.crash_all,
    Scenario.start_one,
    Scenario.start_all,
    Scenario.restart_leader,
    Scenario.pause_one,
    Scenario.pause_leader,
    Scenario.freeze_leader,
    Scenario.isolate_one,
    Scenario.isolate_one_way,
    Scenario.isolate_leader,
    Scenario.split,
    Scenario.heal,
    Scenario.slow_disk,
    Scenario.transfer,
    Scenario.new_disk,
]
