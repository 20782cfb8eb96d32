"""Changing voters on the leader's node: it waits for the newcomer, says what is missing, and does one at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from broker.quorum.voter_changes import VoterChanges
from kraftpy.errors import DuplicateVoterError, InvalidRequestError, NotControllerError, RequestTimedOutError
from kraftpy.runtime.ports import Address
from raft.errors import Stopped
from raft.events import Offset, ReplicaKey, VoterSet
from raft.status import QuorumStatus
from simulation.clock import SimulatedClock
from simulation.loop import Loop
from tests.quorum.test_membership import END, SILENCE_MS, THREE, ids, replica, status


class Quorum:
    """A leader whose view the test sets; changes are committed when the test says so."""

    def __init__(self, loop: Loop, now: QuorumStatus) -> None:
        self.now: QuorumStatus | Exception = now
        self.proposed: list[list[int]] = []
        self.committing = asyncio.Event()
        self.committing.set()
        self.brokers_only: list[int] = []
        clock = SimulatedClock(loop, loop.world)
        self.changes = VoterChanges(self, self._change, self._address_of, clock, SILENCE_MS)

    def status(self) -> QuorumStatus:
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    async def _change(self, voters: VoterSet) -> None:
        self.proposed.append(ids(voters))
        await self.committing.wait()
        assert isinstance(self.now, QuorumStatus)
        self.now = replace(self.now, voters=voters)

    def _address_of(self, key: ReplicaKey) -> Address | None:
        return None if key.node_id in self.brokers_only else Address(f"n{key.node_id}", 1)


def story(tell: Callable[[Quorum], Awaitable[None]], now: QuorumStatus) -> None:
    loop = Loop(1, time_limit_ms=100_000)

    async def run() -> None:
        await tell(Quorum(loop, now))

    try:
        loop.run_until_complete(run())
    finally:
        loop.shutdown()


def test_a_newcomer_is_waited_for_round_by_round() -> None:
    async def tell(quorum: Quorum) -> None:
        adding = asyncio.ensure_future(quorum.changes.add(4, None, 10_000))
        await asyncio.sleep(1)
        quorum.now = status(*THREE, replica(4, voter=False, end=50))
        await asyncio.sleep(1)
        ahead = status(*THREE, replica(4, voter=False, end=END))
        quorum.now = replace(ahead, end_offset=Offset(END + 20))  # what was there at first; more came in meanwhile
        await asyncio.sleep(1)
        assert not quorum.proposed
        quorum.now = replace(status(*THREE, replica(4, voter=False, end=END + 20)), end_offset=Offset(END + 20))
        assert ids(await adding) == [1, 2, 3, 4]
        assert quorum.proposed == [[1, 2, 3, 4]]

    story(tell, status(*THREE))


def test_one_that_never_quite_catches_up_is_taken_after_some_rounds() -> None:
    """While records keep coming, an observer is always a little behind."""

    async def tell(quorum: Quorum) -> None:
        async def write() -> None:
            end = END
            while True:
                lagging = status(*THREE, replica(4, voter=False, end=end))
                end += 5
                quorum.now = replace(lagging, end_offset=Offset(end))
                await asyncio.sleep(0.05)

        writing = asyncio.ensure_future(write())
        assert ids(await quorum.changes.add(4, None, 10_000)) == [1, 2, 3, 4]
        writing.cancel()

    story(tell, status(*THREE))


def test_what_is_missing_is_said_when_the_time_is_up() -> None:
    async def tell(quorum: Quorum) -> None:
        with pytest.raises(
            RequestTimedOutError, match=r"has the log up to 3, and needs it up to 100; .* nothing is changed"
        ):
            await quorum.changes.add(4, None, 2_000)
        with pytest.raises(DuplicateVoterError):
            await quorum.changes.add(3, None, 2_000)
        quorum.brokers_only.append(5)
        quorum.now = status(*THREE, replica(5, voter=False))
        with pytest.raises(InvalidRequestError, match="broker only"):
            await quorum.changes.add(5, None, 2_000)
        assert not quorum.proposed

    story(tell, status(*THREE, replica(4, voter=False, end=3)))


def test_what_is_missing_is_said_also_by_a_node_that_stood_still_until_the_time_was_up() -> None:
    """Nothing has been proposed, so nobody need be asked whether it was committed."""

    async def tell(quorum: Quorum) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        node = loop.new_lane("n1")
        adding = node.context.run(loop.create_task, quorum.changes.add(4, None, 100))
        loop.call_after_us(5_000, loop.pause, node)
        loop.call_after_us(300_000, loop.resume, node)
        with pytest.raises(RequestTimedOutError, match=r"node 4 does not fetch .* nothing is changed"):
            await adding

    story(tell, status(*THREE))


def test_one_at_a_time() -> None:
    async def tell(quorum: Quorum) -> None:
        quorum.committing.clear()
        removing = asyncio.ensure_future(quorum.changes.remove(3, None, 10_000, force=False))
        await asyncio.sleep(1)
        with pytest.raises(RequestTimedOutError, match="another change of the voters is under way"):
            await quorum.changes.remove(2, None, 1_000, force=False)
        quorum.committing.set()
        assert ids(await removing) == [1, 2]
        assert isinstance(quorum.now, QuorumStatus)
        quorum.now = replace(quorum.now, voters_end_offset=Offset(END + 1))  # of a leader before: not committed yet
        with pytest.raises(RequestTimedOutError, match="another change"):
            await quorum.changes.remove(2, None, 1_000, force=True)

    story(tell, status(*THREE))


def test_a_change_that_is_not_committed_in_time_is_not_forgotten_about() -> None:
    async def tell(quorum: Quorum) -> None:
        quorum.committing.clear()
        with pytest.raises(RequestTimedOutError, match="was not committed within 1000 ms; `kraftpy quorum status`"):
            await quorum.changes.remove(3, None, 1_000, force=False)
        assert quorum.proposed == [[1, 2]]

    story(tell, status(*THREE))


def test_a_node_that_does_not_lead_is_no_controller() -> None:
    async def tell(quorum: Quorum) -> None:
        for now in (replace(status(*THREE), replicas=()), Stopped()):
            quorum.now = now
            with pytest.raises(NotControllerError):
                await quorum.changes.add(4, None, 1_000)

    story(tell, status(*THREE))
