"""A group coordinator within reach: its core, a log in memory with bytes as Kafka keeps them, and a clock to be moved.

What shards do (`broker.coordinator.shard`) is done here without waiting: records are written, replayed, and answered.
"""

from collections.abc import Sequence
from random import Random
from struct import pack
from typing import Any
from uuid import UUID

from broker.coordinator.core import Moment, Producer, Result
from broker.coordinator.groups.codec import GroupRecordCodec
from broker.coordinator.groups.commands import (
    NO_GENERATION,
    Command,
    CommitOffsets,
    CommitOffsetsInTransaction,
    FetchedOffsets,
    FetchOffsets,
    Heartbeat,
    Joined,
    JoinGroup,
    LeaveGroup,
    MemberIdAssigned,
    MemberKey,
    OffsetResults,
    OffsetToCommit,
    ProtocolOffer,
    SyncGroup,
)
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.core import GroupCore
from broker.coordinator.groups.records import GroupsRecord
from broker.coordinator.groups.topics import KnownTopic
from kraftpy.errors import InvalidRequestError, KraftpyError

WALL_START_MS = 1_000_000
GROUP = "g"
MESSAGE_BYTES_MAX = 1_000_000
AT_ONCE = GroupConfig(initial_rebalance_delay_ms=0)

Written = tuple[bytes, bytes | None, Producer | None]


class SomeTopics:
    """`broker.coordinator.groups.topics.Topics`, to be changed by a test."""

    def __init__(self, **partition_counts: int) -> None:
        self.version = 0
        self.counts = partition_counts
        self.lives: dict[str, int] = {}

    def set(self, name: str, count: int | None) -> None:
        """A topic comes, grows, or goes; under the same name, it is another one."""
        self.version += 1
        if count is None:
            del self.counts[name]
            self.lives[name] = self.lives.get(name, 0) + 1
        else:
            self.counts[name] = count

    def id_of(self, name: str) -> UUID:
        return UUID(int=int.from_bytes(name.encode()) * 100 + self.lives.get(name, 0))

    def find(self, name: str) -> KnownTopic | None:
        count = self.counts.get(name)
        return None if count is None else KnownTopic(name, self.id_of(name), count)

    def name_of(self, topic_id: UUID) -> str | None:
        return next((name for name in self.counts if self.id_of(name) == topic_id), None)

    def names(self) -> list[str]:
        return sorted(self.counts)


class Stage:
    """One coordinator after the other, on the same log."""

    def __init__(self, config: GroupConfig = AT_ONCE, seed: int = 1) -> None:
        self.config = config
        self.random = Random(seed)
        self.topics = SomeTopics(t=4)
        self.codec = GroupRecordCodec()
        self.log: list[Written] = []  # markers have the key b"", and the value b"commit" or b"abort"
        self.now_ms = 0
        self.answers: dict[int, Any] = {}
        self.asked: dict[int, Command] = {}
        self.refusal: KraftpyError | None = None
        self.batches = 0  # that were to be written
        self.next_ticket = 0
        self.core = self._new_core()

    # --- the log -----------------------------------------------------------------------------------------------------

    def _new_core(self) -> GroupCore:
        core = GroupCore(self.config, self.random, self.topics)
        for key, value, producer in self.log:
            if key:
                record = self.codec.decode(key, value)
                assert record is not None
                core.replay(record, producer)
            else:
                assert producer is not None
                core.end_transaction(producer.producer_id, value == b"commit")
        self.core = core
        self._accept(core.loaded(self._now()))
        return core

    def fail_over(self) -> None:
        """Another node leads. Whoever waited is told to look for it, and answered by nobody."""
        for ticket in self.waiting():
            self.answers[ticket] = None
        self._new_core()

    def end_transaction(self, producer: Producer, commit: bool) -> None:
        self.log.append((b"", b"commit" if commit else b"abort", producer))
        self.core.end_transaction(producer.producer_id, commit)

    def _accept(self, result: Result[GroupsRecord]) -> None:
        self.batches += 1 if result.records else 0
        refusal = self.refusal or self._refusal_for_size(result.records)
        if result.records and refusal is not None:
            result = self.core.refused(result, refusal, self._now())
            assert not result.records
        for record in result.records:
            key, value = self.codec.encode(record)
            assert self.codec.decode(key, value) == record
            self.log.append((key, value, result.producer))
            self.core.replay(record, result.producer)
        for answer in result.answers:
            assert answer.ticket not in self.answers, f"{self.asked[answer.ticket]} is answered twice"
            self.answers[answer.ticket] = answer.response

    def _refusal_for_size(self, records: tuple[GroupsRecord, ...]) -> KraftpyError | None:
        encoded = [(key, value or b"") for key, value in map(self.codec.encode, records)]
        is_too_large = sum(len(key) + len(value) for key, value in encoded) > MESSAGE_BYTES_MAX
        return InvalidRequestError("it is too large for one batch") if is_too_large else None

    # --- commands and time -------------------------------------------------------------------------------------------

    def _now(self) -> Moment:
        return Moment(self.now_ms, WALL_START_MS + self.now_ms)

    def send(self, command: Command) -> int:
        """Its ticket."""
        ticket = self.next_ticket
        self.next_ticket += 1
        self.asked[ticket] = command
        try:
            result = self.core.handle(ticket, command, self._now())
        except KraftpyError as error:
            self.answers[ticket] = error
        else:
            self._accept(result)
        return ticket

    def ask(self, command: Command) -> Any:
        """Its answer, which must come without waiting."""
        return self.answers[self.send(command)]

    def waiting(self) -> list[int]:
        return [ticket for ticket in self.asked if ticket not in self.answers]

    def pass_time(self, by_ms: int) -> None:
        """What is due on the way is done when it is due."""
        end_ms = self.now_ms + by_ms
        while True:
            due_ms = self.core.next_deadline_ms()
            if due_ms is None or due_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, due_ms)
            self._accept(self.core.tick(self._now()))
        self.now_ms = end_ms

    def settle(self) -> None:
        """What is due now."""
        self.pass_time(0)

    # --- short forms -------------------------------------------------------------------------------------------------

    def join(self, member_id: str = "", **changes: Any) -> int:
        return self.send(join(member_id, **changes))

    def form(self, *names: str, **changes: Any) -> list[Joined]:
        """A stable group of new members, the first of which leads; each is assigned its own name."""
        tickets = [self.join(client_id=name, **changes) for name in names]
        self.settle()
        joined: list[Joined] = [self.answers[ticket] for ticket in tickets]
        leader = next(each for each in joined if each.members)
        assignments = tuple((each.member_id, name.encode()) for each, name in zip(joined, names, strict=True))
        self.ask(sync(leader, assignments))
        for each in joined:
            if each is not leader:
                self.ask(sync(each))
        return joined

    def state(self, group_id: str = GROUP) -> str:
        group = self.core.groups.classic(group_id)
        return "Dead" if group is None else group.state.value

    def heartbeat(self, joined: Joined, **changes: Any) -> Any:
        return self.ask(Heartbeat(GROUP, MemberKey(joined.member_id), changes.get("generation", joined.generation)))

    def leave(self, *keys: MemberKey) -> Any:
        return self.ask(LeaveGroup(GROUP, keys))

    def commit(self, offset: int, member: Joined | None = None, **changes: Any) -> Any:
        """The refusal of the one offset, None, or that of the whole."""
        values: dict[str, Any] = {"topic": "t", "partition": 0, "group_id": GROUP, "retention_ms": None, **changes}
        key = MemberKey("") if member is None else MemberKey(member.member_id)
        generation = NO_GENERATION if member is None else member.generation
        to_commit = OffsetToCommit(values["topic"], values["partition"], offset, 5, "note")
        answer = self.ask(CommitOffsets(values["group_id"], key, generation, (to_commit,), values["retention_ms"]))
        return answer.refusals[0] if isinstance(answer, OffsetResults) else answer

    def commit_in_transaction(self, producer: Producer, offset: int, **changes: Any) -> Any:
        command = CommitOffsetsInTransaction(GROUP, producer, (OffsetToCommit("t", 0, offset),), **changes)
        answer = self.ask(command)
        return answer.refusals[0] if isinstance(answer, OffsetResults) else answer

    def committed(self, topic: str = "t", partition: int = 0, group_id: str = GROUP, stable: bool = False) -> Any:
        """The offset, or its refusal."""
        answer = self.ask(FetchOffsets(group_id, ((topic, partition, None),), stable))
        assert isinstance(answer, FetchedOffsets)
        return answer.offsets[0].refusal or answer.offsets[0].offset


def join(member_id: str = "", **changes: Any) -> JoinGroup:
    values: dict[str, Any] = {
        "group_id": GROUP,
        "member": MemberKey(member_id, changes.pop("instance_id", None)),
        "client_id": "c",
        "client_host": "/127.0.0.1",
        "protocol_type": "consumer",
        "protocols": offers(range=("t",)),
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 60_000,
        **changes,
    }
    return JoinGroup(**values)


def offers(**topics: Sequence[str]) -> tuple[ProtocolOffer, ...]:
    """Protocols by name, with a subscription of the topics."""
    return tuple(ProtocolOffer(name, subscription(each)) for name, each in topics.items())


def subscription(topics: Sequence[str]) -> bytes:
    texts = b"".join(pack(">h", len(topic)) + topic.encode() for topic in topics)
    return pack(">hi", 1, len(topics)) + texts + pack(">ii", -1, 0)


def sync(joined: Joined, assignments: tuple[tuple[str, bytes], ...] = (), **changes: Any) -> SyncGroup:
    values: dict[str, Any] = {
        "group_id": GROUP,
        "member": MemberKey(joined.member_id, changes.pop("instance_id", None)),
        "generation": joined.generation,
        "protocol_type": joined.protocol_type,
        "protocol": joined.protocol,
        "assignments": assignments,
        **changes,
    }
    return SyncGroup(**values)


def given_id(stage: Stage, **changes: Any) -> str:
    """An id, by the first of two joins (KIP-394)."""
    answer = stage.ask(join(needs_member_id=True, **changes))
    assert isinstance(answer, MemberIdAssigned)
    return answer.member_id
