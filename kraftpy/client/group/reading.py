"""A consumer as a member of a group: which partitions it reads, where they begin, what it commits by itself. A shell.

    membership ─ handover ─► begin (commit, or take up) ─► the user's callback ─► end (give up) ─► membership

A partition that is taken up waits until its committed offset is known; where there is none, auto_offset_reset says
where to begin. What earlier polls returned counts as processed when the program polls again: that is what auto-commit
commits, at its interval, before a partition is given up, and on close. A program that dies of an exception in between
has not processed what the last of these polls returned, or only it can say how much: `give_up_unprocessed`.
"""

import asyncio
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from random import Random
from uuid import UUID

from kraftpy.client.config import ConsumerConfig
from kraftpy.client.fetch_position import FetchPosition
from kraftpy.client.fetcher import Fetcher
from kraftpy.client.group.classic_member import ClassicMember
from kraftpy.client.group.committing import Committing
from kraftpy.client.group.consumer_member import ConsumerMember
from kraftpy.client.group.handover import Change, Handover, RebalanceListener
from kraftpy.client.group.member import Identity, MemberConfig
from kraftpy.client.group.membership import Membership, group_coordinator
from kraftpy.client.group.offsets import Committable, offsets_of
from kraftpy.client.metadata import Metadata
from kraftpy.client.starting import RESETS
from kraftpy.client.values import ConsumerRecord, GroupMetadata, OffsetAndMetadata, TopicPartition
from kraftpy.client.wire import ClientPorts
from kraftpy.errors import KraftpyError, SubscriptionError

FAREWELL_MS = 5_000  # how long the last commits before a handover may take; others wait for the partitions

_log = logging.getLogger(__name__)


class GroupReading:
    """See the module's docstring."""

    def __init__(self, config: ConsumerConfig, ports: ClientPorts, metadata: Metadata, fetcher: Fetcher) -> None:
        self._config = config
        self._ports = ports
        self._metadata = metadata
        self._fetcher = fetcher
        self._coordinator = group_coordinator(config, ports, metadata)
        self._member = _member(config, ports)
        self.membership = Membership(self._member, config, ports, metadata, self._coordinator, fetcher.nudge)
        self.committing = Committing(config, ports, metadata, self._coordinator, self._committer)
        self.listener = RebalanceListener()
        self.has_share = False  # since it subscribed; the share may be empty
        self._lookups: list[asyncio.Task[None]] = []
        self._refused: dict[TopicPartition, tuple[FetchPosition, int]] = {}  # whose committed offset was not told
        self._auto_commit_at_ms = 0
        self._auto_committed: dict[TopicPartition, int] = {}
        self._has_warned = False
        self._vouched: dict[TopicPartition, int] = {}  # what the program has committed itself since it polled last

    # --- what is read ------------------------------------------------------------------------------------------------

    def subscribe(self, topics: Sequence[str], pattern: re.Pattern[str] | None, listener: RebalanceListener) -> None:
        """Raises `SubscriptionError` where partitions were assigned by hand."""
        if self._fetcher.positions and not self.membership.is_active:
            raise SubscriptionError("partitions are assigned by hand; call unsubscribe() before subscribe()")
        self.listener = listener
        self.membership.subscribe(topics, pattern)

    def assign(self, places: Sequence[TopicPartition]) -> None:
        """Read these, outside of the group's sharing, and yet with its offsets. Raises `SubscriptionError`."""
        if self.membership.is_active:
            raise SubscriptionError("this consumer has subscribed to topics; call unsubscribe() before assign()")
        if self._config.auto_commit:
            self._commit_dropped(frozenset(places))
        self._read(places)

    def _read(self, places: Sequence[TopicPartition]) -> None:
        before = self._fetcher.positions
        start_ms = RESETS[self._config.auto_offset_reset]
        self._fetcher.assign(places, lambda _place: start_ms)
        fresh = {
            place: (position, position.generation)
            for place, position in self._fetcher.positions.items()
            if place not in before
        }
        if not fresh:
            return
        for position, _ in fresh.values():
            position.is_resetting = True  # until the committed offset is known
        self._look_up(fresh)

    def ask_again(self) -> None:
        """Where committed offsets were refused and the user has heard of it: whoever polls on wants them still."""
        heard = {place: asked for place, asked in self._refused.items() if asked[0].error is None}
        if heard:
            self._refused = {place: asked for place, asked in self._refused.items() if place not in heard}
            self._look_up(heard)

    def _look_up(self, fresh: Mapping[TopicPartition, tuple[FetchPosition, int]]) -> None:
        task = asyncio.get_running_loop().create_task(self._begin_at_committed(fresh))
        self._lookups = [*[old for old in self._lookups if not old.done()], task]

    async def _begin_at_committed(self, fresh: Mapping[TopicPartition, tuple[FetchPosition, int]]) -> None:
        committed: Mapping[TopicPartition, OffsetAndMetadata | None] = {}
        error: KraftpyError | None = None
        while True:
            waiting = [place for place, (position, generation) in fresh.items() if position.generation == generation]
            if not waiting:
                return
            try:
                committed = await self.committing.committed(
                    waiting, self._config.request_timeout_ms, require_stable=True
                )
            except KraftpyError as failure:
                if failure.retriable:
                    _log.warning("group %s: %s", self._config.group_id, failure)
                    continue
                error = failure
            break
        for place in waiting:
            position, generation = fresh[place]
            if position.generation != generation:
                continue  # sought, or given up meanwhile
            if error is not None:
                position.error = error  # and auto_offset_reset does not decide what only the coordinator knows
                self._refused[place] = (position, generation)
                continue
            position.is_resetting = False
            found = committed.get(place)
            if found is not None:
                position.seek(found.offset, found.leader_epoch, found.leader_epoch)
        self._fetcher.changed()

    # --- poll --------------------------------------------------------------------------------------------------------

    @property
    def patience_s(self) -> float:
        """How long poll() may wait before it shows again that the program is alive."""
        return self._config.max_poll_interval_ms / 3_000

    def wants_poll(self) -> bool:
        """Whether an iteration over records should rather poll than go on; may be asked from the user's thread."""
        return self.membership.wants_poll or self._is_auto_commit_due()

    def touched(self) -> None:
        """The user takes the next record of an earlier poll."""
        self.membership.touched()

    async def polled(self) -> Handover | None:
        """The user polls. A step of a rebalance that has a callback; those without one are done here."""
        self._vouched.clear()
        if self._refused:
            self.ask_again()
        while self.membership.is_active:
            handover = self.membership.polled()
            if handover is None:
                break
            if self.listener.callback(handover.change) is not None:
                return handover
            await self.begin(handover)
            self.end(handover)
        self.has_share |= self.membership.is_stable
        if self._is_auto_commit_due():
            self._commit_by_itself()
        return None

    async def begin(self, handover: Handover) -> None:
        """What comes before the callback."""
        if handover.change is Change.ASSIGN:
            self.has_share = True
            self._read([*self._fetcher.positions, *handover.places])
        elif handover.change is Change.REVOKE:
            await self._commit_before(handover.places)

    def end(self, handover: Handover) -> None:
        """What comes after the callback; nothing where it has left the group, and reads something else perhaps."""
        if self.membership.handover() is handover:
            self._let_go(handover)
            self.membership.handed_over()

    def leaving(self) -> Handover | None:
        """What is to be handed over (`begin`, the callback) before `leave`."""
        if not self.membership.is_active or not self._fetcher.positions:
            return None
        is_member = self.membership.identity.generation >= 0
        return Handover(Change.REVOKE if is_member else Change.LOSE, tuple(self._fetcher.positions))

    async def leave(self, reason: str) -> None:
        """Out of the group, at once."""
        if self.membership.is_active:
            self.committing.give_up(tuple(self._fetcher.positions))
            self._read([])
            self._auto_committed.clear()
            self.has_share = False
            await self.membership.leave(reason)
        else:
            await self._commit_before(tuple(self._fetcher.positions))

    async def close(self) -> None:
        tasks = self._lookups
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.committing.close()
        await self.membership.close()
        await self._coordinator.close()

    def _let_go(self, handover: Handover) -> None:
        if handover.change is not Change.ASSIGN:
            gone = frozenset(handover.places)
            self._read([place for place in self._fetcher.positions if place not in gone])
            for place in handover.places:
                self._auto_committed.pop(place, None)
            self.committing.give_up(handover.places)

    # --- commits -----------------------------------------------------------------------------------------------------

    def consumed(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """Where this consumer stands, in every partition that it has a position in."""
        return self._fetcher.standing()

    def to_commit(self, offsets: Committable) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """What the program asks to commit: these, or where this consumer stands."""
        wanted = self.consumed() if offsets is None else offsets_of(offsets)
        self._vouched.update({place: offset.offset for place, offset in wanted.items()})
        return wanted

    def give_up_unprocessed(self, records: Sequence[ConsumerRecord]) -> None:
        """The program dies while it has these in hand: from now on this consumer stands where they begin, or behind
        what the program has committed of them itself. So they are committed neither by itself nor by a callback."""
        self._fetcher.give_back()
        for record in reversed(records):
            place = TopicPartition(record.topic, record.partition)
            position = self._fetcher.positions.get(place)
            if position is not None and self._vouched.get(place, 0) <= record.offset < position.offset:
                position.seek(record.offset)

    def metadata_for_transaction(self) -> GroupMetadata:
        """For `producer.send_offsets`. Warns once where auto-commit is on."""
        assert self._config.group_id is not None
        self._warn_of_auto_commit()
        identity = self.membership.last_identity
        return GroupMetadata(self._config.group_id, identity.member_id, identity.generation, identity.instance_id)

    def _warn_of_auto_commit(self) -> None:
        """What a transaction is to commit, auto-commit would commit as well, also where it is aborted, and nobody would
        read it again."""
        if self._config.auto_commit and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "group %s: this consumer commits by itself what it reads, also where a transaction that was to take "
                "the offsets is aborted, and then these records are lost: set enable_auto_commit=False",
                self._config.group_id,
            )

    def _committer(self) -> Identity | None:
        if not self.membership.is_active:
            return Identity()
        identity = self.membership.identity
        return identity if identity.generation >= 0 else None

    def _is_auto_commit_due(self) -> bool:
        return self._config.auto_commit and self._ports.clock.monotonic_ms() >= self._auto_commit_at_ms

    def _news(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What auto-commit has not committed yet; all where partitions are assigned by hand.

        Without a member the group is known by its commits alone: an offset is forgotten some time after its last, also
        one that is read from (KIP-211).
        """
        if not self.membership.is_active:
            return self.consumed()
        return {
            place: offset
            for place, offset in self.consumed().items()
            if self._auto_committed.get(place) != offset.offset
        }

    def _commit_by_itself(self) -> None:
        self._auto_commit_at_ms = self._ports.clock.monotonic_ms() + self._config.auto_commit_interval_ms
        offsets = self._news()
        if offsets:
            self.committing.commit_unasked(offsets, lambda: self._not_committed(offsets))
            self._auto_committed.update({place: offset.offset for place, offset in offsets.items()})

    def _commit_dropped(self, kept: Collection[TopicPartition]) -> None:
        """What was read of partitions that are assigned no more: no later commit knows where that was."""
        dropped = {place: offset for place, offset in self.consumed().items() if place not in kept}
        if dropped:
            self.committing.commit_unasked(dropped, lambda: None)

    def _not_committed(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """The next interval tries again, though nothing new was read meanwhile."""
        for place, offset in offsets.items():
            if self._auto_committed.get(place) == offset.offset:
                del self._auto_committed[place]

    async def _commit_before(self, places: Sequence[TopicPartition]) -> None:
        """The last commits of partitions that are given up."""
        try:
            async with asyncio.timeout(FAREWELL_MS / 1_000):
                if self._config.auto_commit:
                    going = frozenset(places)
                    offsets = {place: offset for place, offset in self.consumed().items() if place in going}
                    await self.committing.commit(offsets, FAREWELL_MS)
                else:
                    await self.committing.flush()
        except KraftpyError as error:
            _log.warning("group %s: the last offsets were not committed: %s", self._config.group_id, error)
        except TimeoutError:
            reason = f"nobody has answered within {FAREWELL_MS} ms"
            _log.warning("group %s: the last offsets were not committed: %s", self._config.group_id, reason)


def _member(config: ConsumerConfig, ports: ClientPorts) -> ClassicMember | ConsumerMember:
    assert config.group_id is not None
    settings = MemberConfig(
        config.group_id,
        config.group_instance_id,
        config.client_rack,
        config.assignors,
        config.group_remote_assignor,
        config.session_timeout_ms,
        config.heartbeat_interval_ms,
        config.max_poll_interval_ms,
        config.retry_backoff_ms,
        config.retry_backoff_max_ms,
    )
    now_ms = ports.clock.monotonic_ms()
    if config.group_protocol == "consumer":
        return ConsumerMember(settings, _new_member_id(ports.random), now_ms)
    return ClassicMember(settings, now_ms)


def _new_member_id(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))
