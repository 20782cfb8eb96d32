"""OffsetCommit, TxnOffsetCommit, OffsetFetch, OffsetDelete: who may say and ask where a group reads on.

| the group | who | in a generation | a commit |
|---|---|---|---|
| none, or Empty | anybody | below 0 | is taken: the group uses no more than offsets |
| none | anybody | 0 or more | ILLEGAL_GENERATION; GROUP_ID_NOT_FOUND for clients that know it |
| with members | nobody's id, below 0 | | UNKNOWN_MEMBER_ID, except in a transaction of an old client (KIP-447) |
| with members | a member | the present one | is taken, and counts as a heartbeat |
| CompletingRebalance | a member | the present one | REBALANCE_IN_PROGRESS, except in a transaction |
| a consumer group | a member | its epoch | is taken (KIP-848) |
| a consumer group | a member | an earlier one, in which it had these partitions already | is taken (KIP-1251) |
| a consumer group | a member | any other | STALE_MEMBER_EPOCH |
"""

from collections.abc import Iterator
from uuid import UUID

from broker.coordinator.core import Producer, Ticket
from broker.coordinator.groups.classic_group import COMPLETING, EMPTY, PREPARING, STABLE, ClassicGroup
from broker.coordinator.groups.commands import (
    NO_EPOCH,
    NO_MEMBER_ID,
    CommitOffsets,
    CommitOffsetsInTransaction,
    DeleteOffsets,
    FetchedOffset,
    FetchedOffsets,
    FetchOffsets,
    MemberKey,
    OffsetResults,
    OffsetToCommit,
    Refusal,
)
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.consumer_group import ConsumerGroup
from broker.coordinator.groups.offsets import Offsets
from broker.coordinator.groups.rebalance import Rebalance
from broker.coordinator.groups.records import CommittedOffset, OffsetRecord
from broker.coordinator.groups.registry import Groups
from broker.coordinator.groups.subscription import CONSUMER_PROTOCOL
from broker.coordinator.groups.topics import Topics
from broker.coordinator.groups.turn import Turn
from kraftpy.errors import (
    GroupIdNotFoundError,
    GroupSubscribedToTopicError,
    IllegalGenerationError,
    NonEmptyGroupError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    StaleMemberEpochError,
    UnknownMemberIdError,
    UnstableOffsetCommitError,
    UnsupportedVersionError,
)


class Committing:
    """See the module's docstring."""

    def __init__(
        self, config: GroupConfig, groups: Groups, offsets: Offsets, rebalance: Rebalance, topics: Topics
    ) -> None:
        self._config = config
        self._groups = groups
        self._offsets = offsets
        self._rebalance = rebalance
        self._topics = topics

    # --- commit ------------------------------------------------------------------------------------------------------

    def commit(self, ticket: Ticket, command: CommitOffsets, turn: Turn) -> None:
        group = self._groups.classic(command.group_id)
        consumers = self._groups.consumer(command.group_id)
        if consumers is not None:
            _check_consumer_commit(consumers, command)
        elif group is None:
            self._check_absent(command)
        else:
            _check_commit(group, command.member, command.generation)
            self._keep_alive(group, command.member, turn)
        expires_ms = None if command.retention_ms is None else turn.now.wall_ms + command.retention_ms
        self._write(ticket, command.group_id, command.offsets, expires_ms, turn)

    def commit_in_transaction(self, ticket: Ticket, command: CommitOffsetsInTransaction, turn: Turn) -> None:
        group = self._groups.classic(command.group_id)
        consumers = self._groups.consumer(command.group_id)
        if consumers is not None:
            if command.generation >= 0 or (command.member.member_id != NO_MEMBER_ID and not consumers.is_empty):
                _check_owner_in_transaction(consumers, command)
        elif group is not None:
            _check_commit_in_transaction(group, command.member, command.generation)
            self._keep_alive(group, command.member, turn)
        elif command.generation >= 0:
            raise IllegalGenerationError(f"there is no group {command.group_id}")
        turn.producer = Producer(*command.producer)
        self._write(ticket, command.group_id, command.offsets, None, turn)

    def _check_absent(self, command: CommitOffsets) -> None:
        if command.generation >= 0:
            error = GroupIdNotFoundError if command.knows_member_epochs else IllegalGenerationError
            raise error(f"there is no group {command.group_id}")

    def _keep_alive(self, group: ClassicGroup, key: MemberKey, turn: Turn) -> None:
        member = group.members.get(key.member_id)
        if member is not None and group.state in (STABLE, PREPARING):
            self._rebalance.keep_alive(group, member, turn)

    def _write(
        self, ticket: Ticket, group_id: str, offsets: tuple[OffsetToCommit, ...], expires_ms: int | None, turn: Turn
    ) -> None:
        refusals = tuple(self._refusal(each) for each in offsets)
        for each, refusal in zip(offsets, refusals, strict=True):
            if refusal is None:
                value = _committed(each, turn.now.wall_ms, expires_ms)
                turn.records.append(OffsetRecord(group_id, each.topic, each.partition, value))
        turn.answer_written(ticket, OffsetResults(refusals))

    def _refusal(self, offset: OffsetToCommit) -> Refusal:
        limit = self._config.offset_metadata_bytes_max
        if len(offset.metadata) > limit:
            return OffsetMetadataTooLargeError(f"the metadata beside an offset is limited to {limit} characters")
        return None

    # --- fetch -------------------------------------------------------------------------------------------------------

    def fetch(self, ticket: Ticket, command: FetchOffsets, turn: Turn) -> None:
        """A member that says its epoch is told whether that is over; anybody else is answered."""
        consumers = self._groups.consumer(command.group_id)
        if consumers is not None and command.member_id and command.member_epoch >= 0:
            _check_epoch(consumers, command.member_id, command.member_epoch)
        places = self._everything(command.group_id) if command.partitions is None else command.partitions
        found = tuple(self._fetched(command.group_id, *place, command.require_stable) for place in places)
        turn.answer(ticket, FetchedOffsets(found))

    def _everything(self, group_id: str) -> Iterator[tuple[str, int, UUID | None]]:
        """What is committed; an offset of an older topic of a name that there is, is none."""
        for (topic, partition), value in self._offsets.of_group(group_id):
            known = self._topics.find(topic)
            if known is None or value.topic_id in (None, known.topic_id):
                yield topic, partition, None

    def _fetched(
        self, group_id: str, topic: str, partition: int, topic_id: UUID | None, require_stable: bool
    ) -> FetchedOffset:
        if require_stable and self._offsets.is_unstable(group_id, topic, partition):
            error = UnstableOffsetCommitError("a transaction that has not ended commits an offset of this partition")
            return FetchedOffset(topic, partition, refusal=error)
        value = self._offsets.get(group_id, topic, partition)
        if value is None or (topic_id is not None and value.topic_id not in (None, topic_id)):
            return FetchedOffset(topic, partition)
        return FetchedOffset(topic, partition, value.offset, value.leader_epoch, value.metadata)

    # --- delete ------------------------------------------------------------------------------------------------------

    def delete(self, ticket: Ticket, command: DeleteOffsets, turn: Turn) -> None:
        group = self._groups.any(command.group_id)
        if group is None:
            raise GroupIdNotFoundError(f"there is no group {command.group_id}")
        if isinstance(group, ClassicGroup) and not group.is_empty and group.protocol_type != CONSUMER_PROTOCOL:
            raise NonEmptyGroupError(f"group {group.group_id} has members, and only consumers say what they read")
        may_read_any = isinstance(group, ClassicGroup) and group.subscribed is None
        read = frozenset(group.topics())
        refusals: list[Refusal] = []
        for topic, partition in command.partitions:
            if not group.is_empty and (may_read_any or topic in read):
                refusals.append(GroupSubscribedToTopicError(f"group {group.group_id} reads {topic}"))
                continue
            refusals.append(None)
            if self._is_known(group.group_id, topic, partition):
                turn.records.append(OffsetRecord(group.group_id, topic, partition, None))
        turn.answer_written(ticket, OffsetResults(tuple(refusals)))

    def _is_known(self, group_id: str, topic: str, partition: int) -> bool:
        is_committed = self._offsets.get(group_id, topic, partition) is not None
        return is_committed or self._offsets.is_unstable(group_id, topic, partition)


def _committed(offset: OffsetToCommit, wall_ms: int, expires_ms: int | None) -> CommittedOffset:
    if expires_ms is not None:
        return CommittedOffset(offset.offset, NO_EPOCH, offset.metadata, wall_ms, expires_ms)
    return CommittedOffset(offset.offset, offset.leader_epoch, offset.metadata, wall_ms, topic_id=offset.topic_id)


def _check_commit(group: ClassicGroup, key: MemberKey, generation: int) -> None:
    """By a client that is in no transaction."""
    if generation < 0 and group.state is EMPTY:
        return
    if generation >= 0 or key.member_id != NO_MEMBER_ID or key.instance_id is not None:
        _check_member(group, key, generation)
    else:
        raise UnknownMemberIdError(f"group {group.group_id} has members: only they commit its offsets")
    if group.state is COMPLETING:
        raise RebalanceInProgressError(f"group {group.group_id} is being assigned its partitions")


def _check_commit_in_transaction(group: ClassicGroup, key: MemberKey, generation: int) -> None:
    if generation < 0 and group.state is EMPTY:
        return
    if generation >= 0 or key.member_id != NO_MEMBER_ID or key.instance_id is not None:
        _check_member(group, key, generation)


def _check_member(group: ClassicGroup, key: MemberKey, generation: int) -> None:
    group.validated(key)
    if generation != group.generation:
        raise IllegalGenerationError(f"group {group.group_id} is in generation {group.generation}")


def _check_consumer_commit(group: ConsumerGroup, command: CommitOffsets) -> None:
    """By a client that is in no transaction."""
    if command.generation < 0 and group.is_empty:
        return
    member = group.members.get(command.member.member_id)
    if member is not None and member.classic is None and not command.knows_member_epochs:
        raise UnsupportedVersionError("members of consumer groups commit by version 9 or later")
    _check_owner(group, command.member.member_id, command.generation, command.offsets)


def _check_owner(group: ConsumerGroup, member_id: str, epoch: int, offsets: tuple[OffsetToCommit, ...]) -> None:
    """A member may not have heard of its newest epoch yet. What it commits by an earlier one counts all the same where
    nobody else has had these partitions since (KIP-1251)."""
    member = group.members.get(member_id)
    is_behind = member is not None and member.classic is None and 0 <= epoch < group.current(member_id).epoch
    if not (is_behind and all(_has_had(group, member_id, epoch, each) for each in offsets)):
        _check_epoch(group, member_id, epoch)


def _check_owner_in_transaction(group: ConsumerGroup, command: CommitOffsetsInTransaction) -> None:
    """As Kafka: no version of TxnOffsetCommit tells STALE_MEMBER_EPOCH, and a producer that does not know it would end
    instead of aborting."""
    try:
        _check_owner(group, command.member.member_id, command.generation, command.offsets)
    except StaleMemberEpochError as error:
        raise IllegalGenerationError(error.message) from None


def _has_had(group: ConsumerGroup, member_id: str, epoch: int, offset: OffsetToCommit) -> bool:
    if offset.topic_id is None:
        return False
    place = (offset.topic_id, offset.partition)
    return group.owner_of(place) == member_id and group.owned_since(place) <= epoch


def _check_epoch(group: ConsumerGroup, member_id: str, epoch: int) -> None:
    member = group.members.get(member_id)
    if member is None:
        raise UnknownMemberIdError(f"group {group.group_id} has no member {member_id!r}")
    current = group.current(member_id)
    if epoch != current.epoch:
        error = StaleMemberEpochError if member.classic is None else IllegalGenerationError
        raise error(f"the member is in epoch {current.epoch}, not {epoch}")
