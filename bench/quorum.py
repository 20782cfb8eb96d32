"""What the quorum's commit costs: the processor time of its cores, and the time that real nodes on loopback take.

    python -m bench.quorum

The cores are driven here without disks, sockets or clocks: an entry is proposed, stored and fetched by both followers,
and committed, all in one heap, so that what is left is the consensus itself. The quorum's log is written by
`log_store` and flushed, and carried over gRPC; with both, a commit is what the second half measures: the controller of
three real nodes creates topics, one after the other and many at once.
"""

import statistics
import time
from collections import deque
from dataclasses import replace
from random import Random
from uuid import UUID

from bench.costs import RUNS, alone_us, report_alone
from kraftpy import Admin
from kraftpy.client.admin_values import NewTopic
from kraftpy.testing import Cluster
from raft.config import RaftConfig
from raft.core import RaftCore
from raft.events import (
    AnswerProposal,
    Append,
    BecameLeader,
    Effect,
    Entry,
    Event,
    NodeId,
    Persisted,
    Proposed,
    ReplicaKey,
    RequestId,
    RequestReceived,
    Respond,
    RespondEntries,
    Response,
    ResponseReceived,
    Send,
    TimePassed,
    Voter,
    VoterSet,
)
from raft.founding import founding_entry
from raft.log_shape import StoredLog
from raft.stored import recover
from tests.raft.memory_log import MemoryLog

BODY = bytes(200)
TIMES = 2_000
TOPICS = 100


class Replica:
    """A core, and what it stored."""

    def __init__(self, key: ReplicaKey, first: Entry) -> None:
        self.key = key
        self.log = MemoryLog([first])
        stored: StoredLog = recover(self.log)  # type: ignore[arg-type]  # the disk's asynchronous half is not played
        self.core = RaftCore(RaftConfig(), key, stored, None, Random(key.node_id), 0)
        self.deadline_ms: int | None = 0
        self.flushes = False


class Quorum:
    """Three replicas whose messages arrive at once, in order, and whose disks are durable at once."""

    def __init__(self, voters: int = 3) -> None:
        keys = [ReplicaKey(NodeId(number), UUID(int=number)) for number in range(1, voters + 1)]
        first = founding_entry(VoterSet(tuple(Voter(key, f"n{key.node_id}", 9093) for key in keys)))
        self.replicas = {key.node_id: Replica(key, first) for key in keys}
        self.leader: Replica | None = None
        self.committed = 0
        self._now_ms = 0
        self._events: deque[tuple[Replica, Event | None]] = deque()
        self._askers: dict[tuple[NodeId, RequestId], tuple[Replica, RequestId]] = {}
        self._ids = 0

    def elect(self) -> None:
        """Let time pass until somebody leads."""
        while self.leader is None:
            for replica in self.replicas.values():
                if replica.deadline_ms is not None and replica.deadline_ms <= self._now_ms:
                    self._events.append((replica, TimePassed(self._now_ms)))
            self.run()
            self._now_ms += 10

    def commit(self, count: int = 1) -> None:
        """Propose so many entries, and drive everybody until all are committed."""
        assert self.leader is not None
        wanted = self.committed + count
        for _ in range(count):
            epoch, proposal_id = self.leader.core.epoch, self._next_id()
            self._events.append((self.leader, Proposed(self._now_ms, proposal_id, epoch, BODY, 1)))
        self.run()
        assert self.committed == wanted

    def run(self) -> None:
        while self._events:
            replica, event = self._events.popleft()
            if event is None:  # all that it appended is durable now, as one flush makes it
                replica.flushes = False
                event = Persisted(self._now_ms, replica.log.end_offset)
            effects = replica.core.step(event)
            replica.deadline_ms = effects.deadline_ms
            for effect in effects.items:
                self._do(replica, effect)

    def _do(self, replica: Replica, effect: Effect) -> None:
        match effect:
            case Append(entries):
                replica.log.append(entries)
                if not replica.flushes:
                    replica.flushes = True
                    self._events.append((replica, None))
            case Send(to, request_id, request, _):
                asked_as = self._next_id()
                self._askers[to, asked_as] = (replica, request_id)
                asked = RequestReceived(self._now_ms, asked_as, request)
                self._events.append((self.replicas[to], asked))
            case Respond(request_id, response):
                self._respond(replica, request_id, response)
            case RespondEntries(request_id, response, offset, end_offset):
                start, end = replica.log.index_of(offset), replica.log.index_of(end_offset)
                self._respond(replica, request_id, replace(response, entries=tuple(replica.log.entries[start:end])))
            case BecameLeader():
                self.leader = replica
            case AnswerProposal(_, end_offset):
                self.committed += end_offset is not None

    def _respond(self, replica: Replica, request_id: RequestId, response: Response) -> None:
        asker, its_id = self._askers.pop((replica.key.node_id, request_id))
        self._events.append((asker, ResponseReceived(self._now_ms, its_id, replica.key.node_id, response)))

    def _next_id(self) -> RequestId:
        self._ids += 1
        return RequestId(self._ids)


def measure_cores() -> None:
    for voters in (1, 3, 5):
        for count in (1, 100):
            quorum = Quorum(voters)
            quorum.elect()
            runs = [alone_us(lambda: quorum.commit(count), TIMES // count) / count for _ in range(RUNS)]  # noqa: B023
            report_alone(f"cores of {voters} voters: commit, {count} at a time, each", runs)


def measure_nodes() -> None:
    with Cluster(nodes=3) as cluster, Admin(cluster.bootstrap) as admin:
        alone, together = [], []
        for run in range(RUNS):
            took_us = []
            for number in range(TOPICS // 10):
                began = time.perf_counter()
                admin.create_topic(f"alone-{run}-{number}", partitions=1, replication_factor=1)
                took_us.append((time.perf_counter() - began) * 1e6)
            alone.append(statistics.median(took_us))
            began = time.perf_counter()
            admin.create_topics([NewTopic(f"many-{run}-{number}", 1, 1) for number in range(TOPICS)])
            together.append((time.perf_counter() - began) * 1e6 / TOPICS)
    report_alone("three nodes: a topic created and committed", alone)
    report_alone(f"three nodes: {TOPICS} topics in one request, each", together)


def main() -> None:
    measure_cores()
    measure_nodes()


if __name__ == "__main__":
    main()
