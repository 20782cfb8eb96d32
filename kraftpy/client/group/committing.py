"""Commits offsets to the coordinator, and looks them up. A shell: the order of commits is `CommitQueue`'s."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping

from kraftpy.client.config import ConsumerConfig
from kraftpy.client.group.commit_queue import Commit, CommitQueue, Offsets
from kraftpy.client.group.coordinator import GROUPS, Coordinator
from kraftpy.client.group.member import Identity
from kraftpy.client.metadata import Metadata
from kraftpy.client.values import OffsetAndMetadata, OnCommit, TopicPartition
from kraftpy.client.wire import NEVER_MS, ClientPorts, backoff_ms, watched
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    CallTimeoutError,
    ClosedError,
    CommitFailedError,
    FencedMemberEpochError,
    IllegalGenerationError,
    KraftpyError,
    RebalanceInProgressError,
    StaleMemberEpochError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import groups_pb2

_log = logging.getLogger(__name__)

_GONE = (UnknownMemberIdError, IllegalGenerationError, FencedMemberEpochError, StaleMemberEpochError)


class Committing:
    """The committed offsets of one consumer's group."""

    def __init__(
        self,
        config: ConsumerConfig,
        ports: ClientPorts,
        metadata: Metadata,
        coordinator: Coordinator,
        identity: Callable[[], Identity | None],
    ) -> None:
        """`identity()`: of whoever commits; None: of a member that is not one any more."""
        assert config.group_id is not None
        self.told: deque[tuple[OnCommit, Offsets, KraftpyError | None]] = deque()  # callbacks that poll() is to call
        self._config = config
        self._group_id = config.group_id
        self._ports = ports
        self._metadata = metadata
        self._coordinator = coordinator
        self._identity = identity
        self._queue = CommitQueue()
        self._task: asyncio.Task[None] | None = None

    # --- commits -----------------------------------------------------------------------------------------------------

    async def commit(self, offsets: Offsets, timeout_ms: float) -> None:
        """Raises `CommitFailedError`, `RebalanceInProgressError`, `CallTimeoutError`, and what the coordinator says."""
        if not offsets and self._queue.is_empty:
            return
        timeout_ms = min(timeout_ms, NEVER_MS)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tell(error: KraftpyError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self._add(offsets, timeout_ms, tell)
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await done
        except TimeoutError:
            raise CallTimeoutError(
                f"the coordinator of group {self._group_id} did not say in time whether the offsets are committed"
            ) from None

    def commit_later(self, offsets: Offsets, callback: OnCommit | None) -> None:
        """Commit in the background; `callback(offsets, error)` waits in `told`."""

        def tell(error: KraftpyError | None) -> None:
            if callback is not None:
                self.told.append((callback, offsets, error))
            elif error is not None:
                _log.warning("group %s: an asynchronous commit failed: %s", self._group_id, error)

        self._add(offsets, self._config.request_timeout_ms, tell)

    def commit_unasked(self, offsets: Offsets, failed: Callable[[], None]) -> None:
        """Commit in the background; `failed()` on the loop, where it could not be done."""

        def tell(error: KraftpyError | None) -> None:
            if error is not None:
                _log.warning("group %s: an automatic commit failed: %s", self._group_id, error)
                failed()

        self._add(offsets, self._config.request_timeout_ms, tell)

    async def flush(self) -> None:
        """Wait until everything asked so far is done, one way or the other; whoever waits no longer stops nothing."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def give_up(self, places: Collection[TopicPartition]) -> None:
        """These partitions are read no more: what was not committed of them is not this consumer's to commit."""
        error = _gone(self._group_id, "the partitions were given up before their offsets could be committed")
        for commit, why in self._queue.give_up(places, error):
            commit.done(why)

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for commit in self._queue.close():
            commit.done(ClosedError("the consumer was closed before its offsets were committed"))

    def _add(self, offsets: Offsets, timeout_ms: float, tell: Callable[[KraftpyError | None], None]) -> None:
        due_ms = self._ports.clock.monotonic_ms() + round(timeout_ms)
        self._queue.add(Commit(dict(offsets), due_ms, tell))
        if self._task is None or self._task.done():
            self._task = watched(asyncio.get_running_loop().create_task(self._run()), self._crashed)

    def _crashed(self, error: BaseException) -> None:
        """A bug: everybody who waits hears of it, and the next commit starts the task anew."""
        for commit in self._queue.close():
            commit.done(KraftpyError(f"the offsets were not committed, which is a bug: {error!r}"))

    async def _run(self) -> None:
        attempts = 0
        while (offsets := self._queue.begin()) is not None:
            try:
                refusals = await self._send(offsets) if offsets else {}
            except KraftpyError as error:
                attempts += 1
                _log.debug("group %s: a commit failed: %s", self._group_id, error)
                failed = self._queue.failed(error, self._ports.clock.monotonic_ms())
                over = [(commit, why and _timed_out(why)) for commit, why in failed]
            else:
                again = self._not_known_yet(refusals)
                attempts = attempts + 1 if again else 0
                over = self._queue.succeeded({**refusals, **again}, again, self._ports.clock.monotonic_ms())
            for commit, why in over:
                commit.done(why)
            if attempts and not self._queue.is_empty:
                config = self._config
                pause_ms = backoff_ms(attempts, config.retry_backoff_ms, config.retry_backoff_max_ms)
                await asyncio.sleep(self._ports.jittered(pause_ms) / 1_000)

    def _not_known_yet(self, refusals: Mapping[TopicPartition, KraftpyError]) -> dict[TopicPartition, KraftpyError]:
        """Those whose topic is new to the coordinator, perhaps: no other node has said that it is gone."""
        unknown = [place for place, error in refusals.items() if isinstance(error, UnknownTopicOrPartitionError)]
        if unknown:
            if not self._config.allow_auto_create_topics:  # else who asks for a topic makes it
                for place in unknown:
                    self._metadata.use(place.topic)
            self._metadata.invalidate()
        gone = self._metadata.view.errors
        return {place: _timed_out(refusals[place]) for place in unknown if place.topic not in gone}

    async def _send(self, offsets: Offsets) -> dict[TopicPartition, KraftpyError]:
        identity = self._identity()
        if identity is None:
            raise _gone(self._group_id, "this consumer is not a member of the group any more")
        message = groups_pb2.CommitOffsetsRequest(
            group_id=self._group_id,
            member=groups_pb2.GroupMember(member_id=identity.member_id, instance_id=identity.instance_id),
            generation=identity.generation,
        )
        for place, offset in offsets.items():
            message.offsets.add(
                topic=place.topic,
                partition=place.partition,
                offset=offset.offset,
                leader_epoch=offset.leader_epoch,
                metadata=offset.metadata,
            )
        try:
            answer = await self._coordinator.call(
                GROUPS + "CommitOffsets", message, groups_pb2.OffsetResults, self._config.request_timeout_ms
            )
            return self._refusals(list(offsets), list(answer.errors))
        except _GONE as error:
            if isinstance(error, StaleMemberEpochError) and self._identity() not in (None, identity):
                # The epoch rose meanwhile, and what was not given up is still ours.
                given_up = self._queue.given_up(offsets)
                owned = {place: offset for place, offset in offsets.items() if place not in given_up}
                return {**given_up, **(await self._send(owned) if owned else {})}
            raise _gone(self._group_id, error.name) from error
        except RebalanceInProgressError:
            raise RebalanceInProgressError(
                f"group {self._group_id} is rebalancing: call poll() to take part in it, and commit again what is "
                "still assigned then"
            ) from None

    def _refusals(self, places: list[TopicPartition], codes: list[int]) -> dict[TopicPartition, KraftpyError]:
        refusals: dict[TopicPartition, KraftpyError] = {}
        for place, code in zip(places, codes, strict=False):
            if code == NO_ERROR:
                continue
            error = error_for(code, f"{place}: {error_for(code).message}")
            self._coordinator.noted(error)
            if isinstance(error, UnknownTopicOrPartitionError):
                refusals[place] = error  # which is retriable, and no other partition's matter
            elif error.retriable or isinstance(error, (*_GONE, RebalanceInProgressError)):
                raise error
            else:
                refusals[place] = error
        return refusals

    # --- lookups -----------------------------------------------------------------------------------------------------

    async def committed(
        self, places: Iterable[TopicPartition], timeout_ms: float, *, require_stable: bool
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """What is committed, None where nothing is. Raises `CallTimeoutError`, and what the coordinator says."""
        wanted = list(places)
        message = groups_pb2.FetchOffsetsRequest(
            group_id=self._group_id, require_stable=require_stable, member_epoch=-1
        )
        for place in wanted:
            message.partitions.add(topic=place.topic, partition=place.partition)
        due_ms = self._ports.clock.monotonic_ms() + round(min(timeout_ms, NEVER_MS))
        attempts = 0
        while True:
            left_ms = due_ms - self._ports.clock.monotonic_ms()
            try:
                return await self._lookup(message, wanted, max(min(left_ms, self._config.request_timeout_ms), 1))
            except KraftpyError as error:
                left_ms = due_ms - self._ports.clock.monotonic_ms()
                if not error.retriable:
                    raise
                if left_ms <= 0:
                    raise CallTimeoutError(f"the committed offsets were not found in time: {error}") from error
            attempts += 1
            pause_ms = backoff_ms(attempts, self._config.retry_backoff_ms, self._config.retry_backoff_max_ms)
            await asyncio.sleep(min(self._ports.jittered(pause_ms), left_ms) / 1_000)

    async def _lookup(
        self, message: groups_pb2.FetchOffsetsRequest, wanted: list[TopicPartition], timeout_ms: int
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        answer = await self._coordinator.call(
            GROUPS + "FetchOffsets", message, groups_pb2.FetchOffsetsResponse, timeout_ms
        )
        found: dict[TopicPartition, OffsetAndMetadata | None] = dict.fromkeys(wanted)
        for offset in answer.offsets:
            place = TopicPartition(offset.topic, offset.partition)
            if offset.error != NO_ERROR:
                raise error_for(offset.error, f"{place}: {error_for(offset.error).message}")
            if offset.offset >= 0:
                found[place] = OffsetAndMetadata(offset.offset, offset.metadata, offset.leader_epoch)
        return found


def _timed_out(error: KraftpyError) -> KraftpyError:
    if not error.retriable or isinstance(error, CallTimeoutError):
        return error
    timed_out = CallTimeoutError(f"the offsets could not be committed in time: {error}")
    timed_out.__cause__ = error
    return timed_out


def _gone(group_id: str, reason: str) -> CommitFailedError:
    return CommitFailedError(
        f"the offsets were not committed: group {group_id} has rebalanced meanwhile and given the partitions to other "
        f"members ({reason}). What was processed since the last commit will be processed again. This happens when "
        "more than max_poll_interval_ms passes between two polls: process less between them (lower max_poll_records), "
        "or raise max_poll_interval_ms. Call poll() to join the group again"
    )
