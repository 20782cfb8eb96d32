"""One partition's leadership: what a leader knows and decides in one leader epoch. Pure; `partition` gives it a log.

It keeps the in-sync set and the followers' positions together, because each decides over the other: positions say who
may join or must leave, and the set says whose positions the high watermark waits for.

Invariants
- One object lives for exactly one leader epoch. A new epoch, also of the same broker, starts from unknown positions.
- At most one proposal is out. The caller sends it, again where no answer came, and tells the answer.
- After anything that changes the set or a position, the caller evaluates the high watermark anew (KAFKA-13091).
"""

from collections.abc import Callable, Sequence
from uuid import UUID

from broker.replication.follower import Follower
from broker.replication.isr import (
    OUTDATED_BASES,
    REFUSED_MEMBERS,
    BrokerLiveness,
    InSyncAnswer,
    InSyncProposal,
    InSyncSet,
    has_caught_up,
    lagging_members,
    may_be_member,
)
from broker.replication.watermark import UNKNOWN_OFFSET, advanced_watermark, effective_min_isr

Liveness = Callable[[int], BrokerLiveness | None]
"""What metadata says of a broker; None: it is not registered."""


class Leadership:
    """The leader's view of its partition, in one epoch."""

    __slots__ = (
        "_eligible",
        "_lacking",
        "adding",
        "epoch_start_offset",
        "followers",
        "in_sync",
        "is_deserted",
        "leader_epoch",
        "leader_id",
        "replicas",
    )

    def __init__(
        self,
        leader_id: int,
        replicas: Sequence[int],
        isr: Sequence[int],
        leader_epoch: int,
        partition_epoch: int,
        epoch_start_offset: int,
        now_ms: int,
        adding: Sequence[int] = (),
        eligible: Sequence[int] = (),
    ) -> None:
        self.leader_id = leader_id
        self.leader_epoch = leader_epoch
        self.epoch_start_offset = epoch_start_offset  # the log's end when the epoch began
        self.replicas = tuple(replicas)
        self.adding = tuple(adding)  # of the replicas: on their way by a reassignment
        self.in_sync = InSyncSet(tuple(sorted(isr)), partition_epoch)
        self.followers = {
            replica: Follower(replica, now_ms, replica in isr) for replica in replicas if replica != leader_id
        }
        self.is_deserted = False  # somebody else leads by now, for all that can be told here
        # Of those out of sync: who may be elected (KIP-966), and of whom the controller has not been told otherwise.
        self._eligible = tuple(eligible)
        self._lacking: dict[int, None] = {}  # of the followers: were members, and are below the high watermark

    # --- what metadata and the controller say ---

    def assigned(
        self,
        replicas: Sequence[int],
        isr: Sequence[int],
        partition_epoch: int,
        now_ms: int,
        adding: Sequence[int] = (),
        eligible: Sequence[int] = (),
    ) -> None:
        """Metadata changed within this epoch. An older word than what is known changes nothing.

        The controller's answer to a proposal may have been faster; it tells the set, but not the replicas.
        """
        if partition_epoch < self.in_sync.partition_epoch:
            return
        self.replicas = tuple(replicas)
        self.adding = tuple(adding)
        self._eligible = tuple(eligible)
        self.followers = {
            replica: self.followers.get(replica) or Follower(replica, now_ms, replica in isr)
            for replica in replicas
            if replica != self.leader_id
        }
        self._lacking = {replica: None for replica in self._lacking if replica in self.followers}
        self._settle(isr, partition_epoch, now_ms)

    def answered(self, proposal: InSyncProposal, answer: InSyncAnswer, now_ms: int) -> bool:
        """The controller's answer to a proposal. True: it must be sent again, because the answer decides nothing."""
        if self.in_sync.proposed is None or proposal.partition_epoch != self.in_sync.partition_epoch:
            return False  # metadata was faster
        if answer.error is None:
            if answer.leader_epoch == self.leader_epoch:
                self._settle(answer.isr, answer.partition_epoch, now_ms)
                # It may have changed nothing: a controller of an older release knows of no other reason than the set.
                self.in_sync = self.in_sync.refused()
                self._eligible = tuple(each for each in self._eligible if each not in proposal.lacking)
            return False
        if answer.error in REFUSED_MEMBERS:
            self.in_sync = self.in_sync.refused()
            return False
        return answer.error not in OUTDATED_BASES

    def _settle(self, isr: Sequence[int], partition_epoch: int, now_ms: int) -> None:
        before = self.in_sync.committed
        self.in_sync = self.in_sync.settled(isr, partition_epoch)
        for member in self.in_sync.committed:
            if member not in before and member in self.followers:
                self.followers[member].joined(now_ms)

    # --- what it proposes ---

    def expand(self, high_watermark: int, liveness: Liveness, now_ms: int, lag_max_ms: int) -> bool:
        """Propose every caught-up replica that may join. False: nothing to propose, or a proposal is out."""
        if self.in_sync.proposed is not None:
            return False
        joining = [
            follower.replica_id
            for follower in self.followers.values()
            if follower.replica_id not in self.in_sync.committed
            and self._may_join(follower, high_watermark, liveness, now_ms, lag_max_ms)
        ]
        if joining:
            self._propose([*self.in_sync.committed, *joining])
        return bool(joining)

    def shrink(self, leader_end: int, now_ms: int, lag_max_ms: int) -> bool:
        """Propose the set without members that lag, or lack what is committed.

        False: nothing to propose, or a proposal is out.
        """
        members = self.in_sync.committed
        return self._put_out(lagging_members(members, self.leader_id, self.followers, leader_end, now_ms, lag_max_ms))

    def judge(self, replica_id: int, high_watermark: int) -> bool:
        """Of a follower that has told its position: propose that it does not lead, if it lacks what is committed.

        Every proposal says so until it has that again: it may not lead (KIP-966), and may have died before its turn.
        False: it lacks nothing, nobody would elect it, or a proposal is out.
        """
        if self.followers[replica_id].end_offset >= high_watermark:
            self._lacking.pop(replica_id, None)
            return False
        if replica_id in self.in_sync.maximal or replica_id in self._eligible:
            self._lacking[replica_id] = None
        return replica_id in self._lacking and self.put_out_lacking()

    def put_out_lacking(self) -> bool:
        """Propose the set without members that lack what is committed; the same set, where such a one is eligible.

        False: nothing to propose, or a proposal is out.
        """
        return self._put_out(())

    def _put_out(self, lagging: Sequence[int]) -> bool:
        if self.in_sync.proposed is not None:
            return False
        members = self.in_sync.committed
        staying = [member for member in members if member not in lagging and member not in self._lacking]
        if len(staying) == len(members) and not any(replica in self._eligible for replica in self._lacking):
            return False
        self._propose(staying)
        return True

    def _propose(self, members: Sequence[int]) -> None:
        staying = [member for member in members if member not in self._lacking]
        lacking = tuple(sorted(self._lacking))
        self.in_sync = self.in_sync.propose(staying, self.followers, lacking=lacking)

    def proposal(self, topic_id: UUID, partition: int, broker_epoch: int) -> InSyncProposal | None:
        """The proposal that is out, as it is to be sent; `broker_epoch` is the leader's own."""
        in_sync = self.in_sync
        if in_sync.proposed is None:
            return None
        return InSyncProposal(
            topic_id=topic_id,
            partition=partition,
            leader_epoch=self.leader_epoch,
            partition_epoch=in_sync.partition_epoch,
            isr=tuple(
                (member, broker_epoch if member == self.leader_id else known)
                for member, known in zip(in_sync.proposed, in_sync.broker_epochs, strict=True)
            ),
            lacking=in_sync.lacking,
        )

    def _may_join(
        self, follower: Follower, high_watermark: int, liveness: Liveness, now_ms: int, lag_max_ms: int
    ) -> bool:
        return (
            now_ms - follower.last_fetch_ms <= lag_max_ms  # one that fell silent would only have to leave again
            and has_caught_up(follower, high_watermark, self.epoch_start_offset)
            and may_be_member(follower, liveness(follower.replica_id))
        )

    # --- what is committed ---

    def advanced(
        self, high_watermark: int, own_durable_end: int, min_isr: int, liveness: Liveness, now_ms: int, lag_max_ms: int
    ) -> int:
        """The high watermark as it may be now: `high_watermark` or higher.

        It waits for the maximal set, and also for a replica that is about to join (as Kafka does): otherwise a busy
        leader could run away from it for ever. A joining replica that fell silent is waited for no longer than a
        member would be.
        """
        if not self.has_min_isr(min_isr):
            return high_watermark
        members = self.in_sync.maximal
        ends = [own_durable_end if member == self.leader_id else self._end_of(member) for member in members]
        for follower in self.followers.values():
            if follower.replica_id not in members and self._may_join(
                follower, high_watermark, liveness, now_ms, lag_max_ms
            ):
                ends.append(follower.end_offset)
        return advanced_watermark(high_watermark, ends)

    def low_watermark(self, own_start: int, liveness: Liveness) -> int:
        """The lowest log start of the replicas whose brokers are in service; unknown (-1) where one has not told."""
        followed = [
            follower.log_start_offset
            for follower in self.followers.values()
            if (broker := liveness(follower.replica_id)) is not None and not broker.fenced and broker.serves
        ]
        return min([own_start, *followed])

    def has_min_isr(self, min_isr: int) -> bool:
        """Whether acks=all may be accepted, and acknowledged (invariant 12)."""
        # Mostly the set is larger than what is asked for, and nothing has to be counted.
        in_sync = len(self.in_sync.committed)
        return in_sync >= min_isr or in_sync >= self.min_isr(min_isr)

    def min_isr(self, min_isr: int) -> int:
        """Counted without the replicas that are being added, so that no move makes a partition refuse records."""
        return effective_min_isr(min_isr, len(self.replicas) - len(self.adding))

    def _end_of(self, member: int) -> int:
        follower = self.followers.get(member)
        return UNKNOWN_OFFSET if follower is None else follower.end_offset

    # --- how it stands ---

    def is_unfollowed(self, now_ms: int, silence_ms: int) -> bool:
        """Whether there are other members, and none of them has fetched for `silence_ms`."""
        others = [self.followers[member] for member in self.in_sync.committed if member in self.followers]
        return bool(others) and all(now_ms - follower.last_fetch_ms > silence_ms for follower in others)

    def is_at_rest(self, leader_end: int) -> bool:
        """Everybody is a member and has everything: nobody can be lagging before the log moves."""
        return (
            self.in_sync.proposed is None
            and len(self.in_sync.committed) == len(self.replicas)
            and all(follower.end_offset == leader_end for follower in self.followers.values())
        )
