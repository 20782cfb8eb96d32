"""A node that is in a cluster goes on asking where those belong that its list names, and says so once."""

import asyncio
import logging
from collections.abc import Mapping
from random import Random
from uuid import UUID

import pytest

from broker.quorum.founding import LOOK_PAUSE_MS, Founding
from broker.quorum.log import QuorumLog
from kraftpy.errors import InconsistentClusterIdError
from kraftpy.runtime.ports import Unreachable
from raft.events import Entry, Epoch, NodeId, Offset, ReplicaKey, Voter, VoterSet
from raft.founding import Answer, Foundation, ListedVoter, cluster_id_of, founding_entry
from simulation.clock import SimulatedClock
from simulation.device import Device
from simulation.loop import Loop
from tests.quorum.disks import VOTERS, open_log

LISTED = tuple(ListedVoter(voter.key.node_id, voter.host, voter.port) for voter in VOTERS.voters)
TOLD = tuple(map(str, LISTED))
CLUSTER_ID = cluster_id_of(VOTERS)
AT_HOME = Answer(VOTERS.voters[1].key, TOLD, Foundation(CLUSTER_ID, VOTERS))
STRANGER = VoterSet((Voter(ReplicaKey(NodeId(3), UUID(int=33)), "n3", 9093),))
ELSEWHERE = Answer(STRANGER.voters[0].key, (TOLD[2],), Foundation(cluster_id_of(STRANGER), STRANGER))


class Asked:
    """The listed voters, as they answer now; who is not there does not."""

    def __init__(self, answers: Mapping[int, Answer]) -> None:
        self.answers = answers
        self.count = 0

    async def __call__(self, voter: ListedVoter, timeout_ms: int) -> Answer:
        self.count += 1
        if voter.node_id not in self.answers:
            raise Unreachable
        return self.answers[voter.node_id]


async def removed_3(device: Device) -> QuorumLog:
    """The log of a cluster that three voters founded, and whose third was removed."""
    log = await open_log(device)
    log.append([founding_entry(VOTERS), Entry(Offset(1), 1, Epoch(1), VoterSet(VOTERS.voters[:2]))])
    await log.flush()
    return log


def looked(asked: Asked, later: Mapping[int, Answer], key: ReplicaKey = VOTERS.voters[0].key) -> None:
    """Node 1, or an observer, starts with the old list, looks thrice, and thrice more with other answers."""
    loop = Loop(0, time_limit_ms=300_000)

    async def story() -> None:
        log = await removed_3(Device(Random(1)))
        clock = SimulatedClock(loop, loop.world)
        founding = Founding(key, LISTED, log, clock, asked, remembered_cluster_id=CLUSTER_ID, has_voted=True)
        assert await founding.join() == CLUSTER_ID
        looking = asyncio.ensure_future(founding.keep_looking())
        for answers in (asked.answers, later):
            asked.answers = answers
            await asyncio.wait([looking], timeout=3 * LOOK_PAUSE_MS / 1_000)
        if looking.done():
            await looking
        looking.cancel()

    try:
        loop.run_until_complete(story())
    finally:
        loop.shutdown()


@pytest.mark.parametrize(
    ("answers", "later"),
    [
        ({2: AT_HOME, 3: ELSEWHERE}, {2: AT_HOME, 3: ELSEWHERE}),
        ({2: AT_HOME, 3: ELSEWHERE}, {3: ELSEWHERE}),  # 2 is restarted
        ({3: ELSEWHERE}, {2: AT_HOME, 3: ELSEWHERE}),  # both are, after a power failure, and 2 takes longer
        ({2: AT_HOME}, {2: AT_HOME, 3: ELSEWHERE}),
    ],
)
def test_a_removed_voter_that_serves_another_cluster_by_now_stops_nobody_who_still_lists_it(
    answers: Mapping[int, Answer], later: Mapping[int, Answer], caplog: pytest.LogCaptureFixture
) -> None:
    asked = Asked(answers)
    with caplog.at_level(logging.ERROR):
        looked(asked, later)
    (told,) = caplog.messages
    assert "or was removed from this one and is to be taken out of controller.quorum.voters" in told
    assert asked.count >= 2 * 6


def test_an_observer_stays_while_the_voters_are_down() -> None:
    observer = ReplicaKey(NodeId(4), UUID(int=4))
    looked(Asked({2: AT_HOME}), {3: ELSEWHERE}, observer)
    with pytest.raises(InconsistentClusterIdError):
        looked(Asked({}), {3: ELSEWHERE}, observer)


def test_with_every_other_listed_voter_elsewhere_the_directory_is_the_wrong_one() -> None:
    other = Answer(VOTERS.voters[1].key, TOLD, ELSEWHERE.foundation)
    with pytest.raises(InconsistentClusterIdError, match="give it the data directory or the voters that belong togeth"):
        looked(Asked({2: AT_HOME, 3: ELSEWHERE}), {2: other, 3: ELSEWHERE})
