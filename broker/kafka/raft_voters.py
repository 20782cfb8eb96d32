"""AddRaftVoter (key 80), versions 0–1, and RemoveRaftVoter (key 81), version 0: the quorum's voters change (KIP-853).

Where a new voter listens is what its own replica tells the leader; the listeners of the request are not needed. The
answer always comes once the change is committed.
"""

from uuid import UUID

from google.protobuf.message import Message

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages import add_raft_voter, remove_raft_voter
from broker.kafka.messages.add_raft_voter import AddRaftVoterRequest, AddRaftVoterResponse
from broker.kafka.messages.remove_raft_voter import RemoveRaftVoterRequest, RemoveRaftVoterResponse
from broker.kafka.ports import ClusterView
from broker.rpc.admin_service import TIMEOUT_MS
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InconsistentClusterIdError, KraftpyError
from kraftpy.pb import admin_pb2


class RaftVoters:
    """The handlers of both."""

    def __init__(self, link: ControllerLink, view: ClusterView) -> None:
        self._link = link
        self._view = view

    def adding_api(self) -> Api:
        return message_api(
            ApiKey.ADD_RAFT_VOTER,
            (add_raft_voter.VERSION_MIN, add_raft_voter.VERSION_MAX),
            add_raft_voter.FLEXIBLE_FROM,
            AddRaftVoterRequest,
            AddRaftVoterResponse,
            self._add,
        )

    def removing_api(self) -> Api:
        return message_api(
            ApiKey.REMOVE_RAFT_VOTER,
            (remove_raft_voter.VERSION_MIN, remove_raft_voter.VERSION_MAX),
            remove_raft_voter.FLEXIBLE_FROM,
            RemoveRaftVoterRequest,
            RemoveRaftVoterResponse,
            self._remove,
        )

    async def _add(self, request: AddRaftVoterRequest, header: Request) -> AddRaftVoterResponse:
        wanted = admin_pb2.AddRaftVoterRequest(
            node_id=request.voter_id, directory_id=_raw(request.voter_directory_id), timeout_ms=request.timeout_ms
        )
        error, message = await self._change("AddRaftVoter", wanted, request.cluster_id, request.timeout_ms)
        return AddRaftVoterResponse(error=error, error_message=message)

    async def _remove(self, request: RemoveRaftVoterRequest, header: Request) -> RemoveRaftVoterResponse:
        wanted = admin_pb2.RemoveRaftVoterRequest(
            node_id=request.voter_id, directory_id=_raw(request.voter_directory_id)
        )
        error, message = await self._change("RemoveRaftVoter", wanted, request.cluster_id, TIMEOUT_MS)
        return RemoveRaftVoterResponse(error=error, error_message=message)

    async def _change(
        self, method: str, wanted: Message, cluster_id: str | None, timeout_ms: int
    ) -> tuple[int, str | None]:
        """The error, and its text."""
        try:
            if cluster_id is not None and cluster_id != self._view.cluster_id:
                raise InconsistentClusterIdError(f"this is cluster {self._view.cluster_id}, not {cluster_id}")
            await ask_controller(self._link, method, wanted, admin_pb2.VoterChangeResponse, timeout_ms)
        except KraftpyError as error:
            return code_of(error), error.message
        return NO_ERROR, None


def _raw(directory_id: UUID | None) -> bytes:
    return b"" if directory_id is None else directory_id.bytes
