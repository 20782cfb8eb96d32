"""Changing the voters on the node that leads the quorum: waiting for the newcomer, then one entry of the log.

The rules are `broker.quorum.membership`'s. One change is under way at a time, whoever asks. The entry is put into the
log by the controller, which thereby knows that a place in the log is taken.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol
from uuid import UUID

from broker.quorum.membership import Behind, candidate, how_far_behind, with_address, with_voter, without_voter
from kraftpy.errors import KraftpyError, NotControllerError, RequestTimedOutError
from kraftpy.runtime.ports import Address, Clock
from raft.errors import RaftError
from raft.events import ReplicaKey, VoterSet
from raft.status import QuorumStatus, ReplicaStatus

logger = logging.getLogger(__name__)

LOOK_INTERVAL_MS: Final = 20  # between two looks at an observer that catches up
TELL_INTERVAL_MS: Final = 2_000  # between two lines about it
MOVE_PAUSE_MS: Final = 2_000  # between two attempts to write down a voter's new address
ROUNDS_MAX: Final = 10  # as Raft's thesis has it (§4.2.1): each has what came in during the one before


class Replica(Protocol):
    """This node's replica of the quorum."""

    def status(self) -> QuorumStatus: ...


ChangeVoters = Callable[[VoterSet], Awaitable[None]]
"""Put a set in force; returns once it is committed. Raises `NotControllerError`."""

AddressOf = Callable[[ReplicaKey], Address | None]
"""Where a replica says that it takes calls; None: it did not, so it is a broker only."""


class VoterChanges:
    """See the module's docstring."""

    def __init__(
        self, replica: Replica, change: ChangeVoters, address_of: AddressOf, clock: Clock, silence_ms_max: int
    ) -> None:
        """A replica that is silent for longer than `silence_ms_max` is not counted on."""
        self._replica = replica
        self._change = change
        self._address_of = address_of
        self._clock = clock
        self._silence_ms_max = silence_ms_max
        self._is_busy = False
        self._move_at_ms = 0  # no earlier than that

    @property
    def is_busy(self) -> bool:
        """Whether a change is under way, or one of an address was a moment ago."""
        return self._is_busy or self._clock.monotonic_ms() < self._move_at_ms

    async def add(self, node_id: int, directory_id: UUID | None, timeout_ms: int) -> VoterSet:
        """Let an observer catch up, then vote; the voters afterwards.

        Raises what `broker.quorum.membership` lists, and `NotControllerError`.
        """
        return await self._one_at_a_time(partial(self._add, node_id, directory_id, timeout_ms))

    async def remove(self, node_id: int, directory_id: UUID | None, timeout_ms: int, *, force: bool) -> VoterSet:
        """Take a voter out; the voters afterwards. A leader that removes itself leads until that is committed.

        Raises what `broker.quorum.membership` lists, and `NotControllerError`.
        """
        return await self._one_at_a_time(partial(self._remove, node_id, directory_id, timeout_ms, force))

    async def move(self, key: ReplicaKey, address: Address) -> None:
        """Write down where a voter takes calls now, so that the others find it there. Whatever is against it passes:
        the voter tells its address with every fetch, and is tried again after a while."""
        if self.is_busy:
            return
        self._move_at_ms = self._clock.monotonic_ms() + MOVE_PAUSE_MS
        try:
            await self._one_at_a_time(partial(self._move, key, address))
        except KraftpyError as error:
            logger.info("node %d has moved to %s, which is not written down yet: %s", key.node_id, address, error)

    async def _move(self, key: ReplicaKey, address: Address) -> VoterSet:
        voters = self._status().voters
        assert voters is not None
        moved = with_address(voters, key, address)
        if moved != voters:
            await self._commit(moved, MOVE_PAUSE_MS)
            logger.info("voter %d takes calls on %s from now on", key.node_id, address)
        return moved

    async def _one_at_a_time(self, work: Callable[[], Awaitable[VoterSet]]) -> VoterSet:
        status = self._status()
        if self._is_busy or status.voters_end_offset > status.high_watermark:
            raise RequestTimedOutError("another change of the voters is under way; wait for it, and try again")
        self._is_busy = True
        try:
            return await work()
        finally:
            self._is_busy = False

    async def _commit(self, voters: VoterSet, timeout_ms: int) -> None:
        """Raises `RequestTimedOutError`, after which nobody can say yet what came of it."""
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._change(voters)
        except TimeoutError:
            raise RequestTimedOutError(
                f"the change of the voters was not committed within {timeout_ms} ms; `kraftpy quorum status` tells "
                "whether it is by now"
            ) from None

    async def _add(self, node_id: int, directory_id: UUID | None, timeout_ms: int) -> VoterSet:
        ends_ms = self._clock.monotonic_ms() + timeout_ms
        observer = await self._caught_up(node_id, directory_id, timeout_ms)
        voters = self._status().voters
        assert voters is not None
        voters = with_voter(voters, observer, self._address_of(observer.key))
        await self._commit(voters, max(ends_ms - self._clock.monotonic_ms(), LOOK_INTERVAL_MS))
        logger.info("node %d votes from now on; the voters are %s", node_id, _ids(voters))
        return voters

    async def _remove(self, node_id: int, directory_id: UUID | None, timeout_ms: int, force: bool) -> VoterSet:
        voters = without_voter(self._status(), node_id, directory_id, self._silence_ms_max, force=force)
        await self._commit(voters, timeout_ms)
        logger.info("node %d votes no longer; the voters are %s", node_id, _ids(voters))
        return voters

    async def _caught_up(self, node_id: int, directory_id: UUID | None, timeout_ms: int) -> ReplicaStatus:
        """Wait until the observer has the log's end of a moment ago.

        In rounds: once it has what was there when a round began, the next asks for what came in meanwhile, until one
        finds it at the end, or there were enough. Raises `RequestTimedOutError` as soon as the time is up.
        """
        ends_ms = self._clock.monotonic_ms() + max(timeout_ms - 2 * LOOK_INTERVAL_MS, 0)
        told_at_ms = self._clock.monotonic_ms()
        goal, rounds = self._status().end_offset, 0
        while True:
            status = self._status()
            found = candidate(status, node_id, directory_id)
            behind = found if isinstance(found, Behind) else how_far_behind(found, goal, self._silence_ms_max)
            if not isinstance(found, Behind) and behind is None:
                rounds += 1
                if rounds >= ROUNDS_MAX or found.end_offset >= status.end_offset:
                    return found
                goal = status.end_offset
                continue
            assert behind is not None
            now_ms = self._clock.monotonic_ms()
            if now_ms >= ends_ms:
                raise RequestTimedOutError(
                    f"{behind.reason}; it was waited for {timeout_ms} ms, and nothing is changed"
                )
            if now_ms - told_at_ms >= TELL_INTERVAL_MS:
                told_at_ms = now_ms
                logger.info("waiting until a new voter has caught up: %s", behind.reason)
            await asyncio.sleep(LOOK_INTERVAL_MS / 1_000)

    def _status(self) -> QuorumStatus:
        """Raises `NotControllerError` where this node does not lead."""
        try:
            status = self._replica.status()
        except RaftError as error:
            raise NotControllerError(str(error)) from None
        if not status.replicas or status.voters is None:
            raise NotControllerError("this node does not lead the quorum")
        return status


def _ids(voters: VoterSet) -> str:
    return ", ".join(str(voter.key.node_id) for voter in voters.voters)
