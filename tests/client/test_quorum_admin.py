"""Changing voters through the SDK: patience, progress, and changes whose answer was lost."""

from uuid import UUID

import pytest

from kraftpy.client.admin_values import FeatureChange, QuorumVoter, directory_bytes
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    DuplicateVoterError,
    InvalidUpdateVersionError,
    InvalidVoterKeyError,
    KraftpyError,
    NotControllerError,
    RequestTimedOutError,
    VoterNotFoundError,
)
from kraftpy.pb import admin_pb2
from kraftpy.runtime.ports import TransportTimeout
from kraftpy.shown_ids import shown_id
from tests.client.fake_broker import FakeCluster
from tests.client.support import admin, run
from tests.client.test_lost_answers import losing, timed_out

DIRECTORY = UUID(int=7)


class ChangingCluster(FakeCluster):
    """Answers what is next in `answers`: an error, None for a success, or an answer that is lost."""

    def __init__(self, *answers: KraftpyError | TransportTimeout | None) -> None:
        super().__init__(3)
        self.answers = list(answers)
        self.added: list[admin_pb2.AddRaftVoterRequest] = []
        self.removed: list[admin_pb2.RemoveRaftVoterRequest] = []
        self.levels = {"metadata.version": 1, "kraft.version": 1}

    async def _AddRaftVoter(self, node_id: int, data: bytes) -> bytes:
        self.added.append(admin_pb2.AddRaftVoterRequest.FromString(data))
        return self._next()

    async def _RemoveRaftVoter(self, node_id: int, data: bytes) -> bytes:
        self.removed.append(admin_pb2.RemoveRaftVoterRequest.FromString(data))
        return self._next()

    async def _UpdateFeatures(self, node_id: int, data: bytes) -> bytes:
        request = admin_pb2.UpdateFeaturesRequest.FromString(data)
        if request.levels["metadata.version"] > 2:
            code = code_of(InvalidUpdateVersionError)
            return admin_pb2.UpdateFeaturesResponse(error=code, error_message="no").SerializeToString()
        answer = admin_pb2.UpdateFeaturesResponse()
        for name, level in sorted(request.levels.items()):
            if self.levels[name] != level:
                answer.changes.add(name=name, old_level=self.levels[name], new_level=level)
        if not request.validate_only:
            self.levels.update(request.levels)
        return self._refusal() or answer.SerializeToString()

    async def _DescribeFeatures(self, node_id: int, data: bytes) -> bytes:
        return admin_pb2.DescribeFeaturesResponse(finalized=self.levels).SerializeToString()

    def _refusal(self) -> bytes:
        """Said in place of what was done, where `answers` has something."""
        error = self.answers.pop(0) if self.answers else None
        if isinstance(error, TransportTimeout):
            raise error
        return b"" if error is None else admin_pb2.UpdateFeaturesResponse(error=code_of(error)).SerializeToString()

    def _next(self) -> bytes:
        error = self.answers.pop(0)
        if isinstance(error, TransportTimeout):
            raise error
        if error is not None:
            return admin_pb2.VoterChangeResponse(error=code_of(error), error_message=str(error)).SerializeToString()
        answer = admin_pb2.VoterChangeResponse()
        answer.voters.add(node_id=4, directory_id=DIRECTORY.bytes, host="n4", port=1)
        return answer.SerializeToString()


def test_what_is_waited_for_is_told_until_it_is_done() -> None:
    async def story() -> None:
        behind = RequestTimedOutError("node 4 has the log up to 3")
        cluster = ChangingCluster(behind, NotControllerError("nobody leads"), behind, None)
        told: list[str] = []
        async with admin(cluster) as client:
            voters = await client.add_raft_voter(4, directory_id=shown_id(DIRECTORY.bytes), progress=told.append)
        assert voters == (QuorumVoter(4, shown_id(DIRECTORY.bytes), "n4", 1),)
        assert told == ["node 4 has the log up to 3", "nobody leads", "node 4 has the log up to 3"]
        assert all(request.directory_id == DIRECTORY.bytes for request in cluster.added)
        assert all(0 < request.timeout_ms <= 4_000 for request in cluster.added)

    run(story)


LOSSES = pytest.mark.parametrize("lost", [TransportTimeout("silence"), RequestTimedOutError("its fate is not known")])


@LOSSES
def test_a_change_whose_answer_was_lost_is_found_done(lost: RequestTimedOutError | TransportTimeout) -> None:
    async def story() -> None:
        async with admin(ChangingCluster(lost, DuplicateVoterError("it votes"))) as client:
            assert [voter.node_id for voter in await client.add_raft_voter(3)] == [1, 2, 3]
        async with admin(ChangingCluster(lost, VoterNotFoundError("it does not vote"))) as client:
            assert [voter.node_id for voter in await client.remove_raft_voter(4)] == [1, 2, 3]

    run(story)


def test_what_was_so_before_is_refused() -> None:
    async def story() -> None:
        cluster = ChangingCluster(DuplicateVoterError("it votes"), VoterNotFoundError("it does not vote"))
        async with admin(cluster) as client:
            with pytest.raises(DuplicateVoterError, match="it votes"):
                await client.add_raft_voter(3)
            with pytest.raises(VoterNotFoundError, match="it does not vote"):
                await client.remove_raft_voter(4, force=True)
        assert cluster.removed[0].force and not cluster.removed[0].directory_id

    run(story)


def test_who_is_removed_is_the_one_that_votes_now() -> None:
    """Whatever comes late finds another one under its number, with a new disk, perhaps."""

    async def story() -> None:
        cluster = ChangingCluster(TransportTimeout("silence"), None)
        async with admin(cluster) as client:
            await client.remove_raft_voter(2)
        assert [each.directory_id for each in cluster.removed] == [UUID(int=2).bytes] * 2

    run(story)


def test_when_time_is_up_the_last_reason_is_told() -> None:
    async def story() -> None:
        cluster = ChangingCluster(*[RequestTimedOutError("node 4 is behind")] * 1_000)
        async with admin(cluster) as client:
            with pytest.raises(RequestTimedOutError, match="node 4 is behind"):
                await client.add_raft_voter(4, timeout=2)

    run(story)


def test_levels_are_raised_or_refused() -> None:
    async def story() -> None:
        async with admin(ChangingCluster()) as client:
            changes = await client.update_features({"metadata.version": 2})
            assert changes == (FeatureChange("metadata.version", 1, 2),)
            with pytest.raises(InvalidUpdateVersionError):
                await client.update_features({"metadata.version": 3})

    run(story)


@LOSSES
def test_levels_whose_raising_was_not_answered_are_found_raised(lost: RequestTimedOutError | TransportTimeout) -> None:
    async def story() -> None:
        cluster = ChangingCluster(lost)
        async with admin(cluster) as client:
            changes = await client.update_features({"metadata.version": 2, "kraft.version": 1})
            assert changes == (FeatureChange("metadata.version", 1, 2),)
            assert await client.update_features({"metadata.version": 2}) == ()
            cluster.levels["metadata.version"], cluster.answers = 1, [lost]
            dry = await client.update_features({"metadata.version": 2}, validate_only=True)
            assert dry == changes and cluster.levels["metadata.version"] == 1

    run(story)


@LOSSES
def test_a_question_whose_answer_was_lost_is_asked_again(lost: RequestTimedOutError | TransportTimeout) -> None:
    async def story() -> None:
        cluster = ChangingCluster(lost, DuplicateVoterError("it votes"))
        losing(cluster, timed_out, "DescribeFeatures", "DescribeQuorum")
        async with admin(cluster) as client:
            assert (await client.describe_features()).finalized == cluster.levels
            assert [voter.node_id for voter in await client.add_raft_voter(3)] == [1, 2, 3]

    run(story)


def test_a_directory_id_is_read_as_it_is_shown_and_in_hexadecimal() -> None:
    for text in (shown_id(DIRECTORY.bytes), str(DIRECTORY), DIRECTORY.hex):
        assert directory_bytes(text) == DIRECTORY.bytes
    assert directory_bytes(None) == b""
    for text in ("", "x", "-" * 36, "ä" * 22, "A" * 21):
        with pytest.raises(InvalidVoterKeyError):
            directory_bytes(text)
