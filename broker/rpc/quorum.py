"""The quorum between nodes over calls: the service that one replica offers, and the way to the others.

A message of another cluster is refused, and so is one that comes before the replica has begun: its sender asks again.

Every replica, voter or observer, always has a Fetch waiting at the leader. Where that call ends because its connection
did, the process behind it is gone as a rule, and `on_abandoned_fetch` tells: without it the loss of a broker that leads
nothing would show only by its silence, and hold up every acks=all of the partitions that it follows until then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError, Message

from broker.quorum.entries import key_from_pb, key_to_pb, voters_from_pb, voters_to_pb
from broker.quorum.founding import Founding, refuse_other_cluster
from broker.rpc import quorum_messages as messages
from broker.rpc.methods import full_name, unary
from kraftpy.errors import KraftpyError
from kraftpy.pb import quorum_pb2 as pb
from kraftpy.runtime.ports import Address, BadRequest, Clock, Methods, RemoteFailure, Transport
from raft import events as raft
from raft.errors import Overloaded, Stopped
from raft.founding import Answer, Foundation, ListedVoter
from raft.node import RaftNode
from raft.ports import Peer
from raft.status import QuorumStatus

SERVICE = "Quorum"


class QuorumService:
    """What others may ask of this replica. `replica` and `cluster_id` are set when it begins.

    `on_abandoned_fetch(node_id)` is called when a replica's Fetch ends before its answer: evidence, not proof.
    """

    def __init__(self, founding: Founding) -> None:
        self.cluster_id: str | None = None
        self.replica: RaftNode | None = None
        self.on_abandoned_fetch: Callable[[int], None] = lambda node_id: None
        self._founding = founding

    def methods(self) -> Methods:
        handlers: dict[str, tuple[type[Message], Callable[[Any], Awaitable[Message]]]] = {
            "Describe": (pb.DescribeReplicaRequest, self._describe),
            "Vote": (pb.VoteRequest, self._answered(messages.vote_from_pb, messages.vote_answer_to_pb)),
            "BeginQuorumEpoch": (
                pb.BeginQuorumEpochRequest,
                self._answered(messages.begin_from_pb, messages.epoch_answer_to_pb),
            ),
            "EndQuorumEpoch": (
                pb.EndQuorumEpochRequest,
                self._answered(messages.end_from_pb, messages.epoch_answer_to_pb),
            ),
            "Fetch": (pb.QuorumFetchRequest, self._answered(messages.fetch_from_pb, messages.fetch_answer_to_pb)),
            "FetchSnapshot": (
                pb.FetchSnapshotRequest,
                self._answered(messages.snapshot_from_pb, messages.snapshot_answer_to_pb),
            ),
        }
        return Methods(unary(SERVICE, handlers), {})

    async def _describe(self, request: pb.DescribeReplicaRequest) -> pb.DescribeReplicaResponse:
        answer = self._founding.answer()
        status = self._status()
        response = pb.DescribeReplicaResponse(
            key=key_to_pb(answer.key),
            listed=answer.listed,
            leader_id=-1 if status is None or status.leader_id is None else status.leader_id,
            epoch=0 if status is None else status.epoch,
        )
        if answer.foundation is not None:
            response.cluster_id = answer.foundation.cluster_id
            if answer.foundation.voters is not None:
                response.voters.CopyFrom(voters_to_pb(answer.foundation.voters))
        return response

    def _status(self) -> QuorumStatus | None:
        try:
            return None if self.replica is None else self.replica.status()
        except Stopped:
            return None

    def _answered(
        self, decode: Callable[[Any], raft.Request], encode: Callable[[Any], Message]
    ) -> Callable[[Any], Awaitable[Message]]:
        async def answer(request: Any) -> Message:
            refuse_other_cluster(request.cluster_id, self.cluster_id)
            if self.replica is None:
                raise BadRequest("this replica of the quorum has not begun yet")
            try:
                return encode(await self._handle(self.replica, decode(request)))
            except (Overloaded, Stopped, ValueError) as error:
                raise BadRequest(str(error)) from None

        return answer

    async def _handle(self, replica: RaftNode, request: raft.Request) -> raft.Response:
        try:
            return await replica.handle(request)
        except asyncio.CancelledError:
            if isinstance(request, raft.FetchRequest):
                self.on_abandoned_fetch(request.replica.node_id)
            raise


class QuorumClient:
    """`raft.ports.QuorumTransport` over calls. `cluster_id` is set before the replica begins."""

    def __init__(self, transport: Transport, clock: Clock) -> None:
        self.cluster_id = ""
        self._transport = transport
        self._clock = clock
        self._heard_at_ms: dict[int, int] = {}

    def silence_ms(self, node_id: int) -> int:
        """How long ago a node answered last; 0 where it never did."""
        now_ms = self._clock.monotonic_ms()
        return now_ms - self._heard_at_ms.get(node_id, now_ms)

    async def request(self, to: Peer, request: raft.Request, timeout_ms: int) -> raft.Response:
        """Raises `TransportError`; `RemoteFailure` also for an answer that cannot be read."""
        method, encode, message, decode = _CALLS[type(request)]
        data = encode(request, self.cluster_id).SerializeToString()
        answer = await self._transport.call(Address(to.host, to.port), full_name(SERVICE, method), data, timeout_ms)
        self._heard_at_ms[to.node_id] = self._clock.monotonic_ms()
        try:
            response: raft.Response = decode(message.FromString(answer))
        except (DecodeError, ValueError, KraftpyError) as error:
            raise RemoteFailure(f"node {to.node_id} answered {method} with what cannot be read: {error}") from error
        return response

    async def describe(self, voter: ListedVoter, timeout_ms: int) -> Answer:
        """What a listed voter says of itself. Raises `TransportError`, `ValueError`."""
        data = pb.DescribeReplicaRequest().SerializeToString()
        address = Address(voter.host, voter.port)
        answer = await self._transport.call(address, full_name(SERVICE, "Describe"), data, timeout_ms)
        try:
            response = pb.DescribeReplicaResponse.FromString(answer)
        except DecodeError as error:
            raise ValueError(f"node {voter} answers with what cannot be read: {error}") from None
        foundation = None
        if response.cluster_id:
            voters = voters_from_pb(response.voters) if response.HasField("voters") else None
            foundation = Foundation(response.cluster_id, voters)
        return Answer(key_from_pb(response.key), tuple(response.listed), foundation)


_CALLS: dict[type[raft.Request], tuple[str, Callable[..., Message], type[Message], Callable[[Any], raft.Response]]] = {
    raft.VoteRequest: ("Vote", messages.vote_to_pb, pb.VoteResponse, messages.vote_answer_from_pb),
    raft.BeginQuorumEpochRequest: (
        "BeginQuorumEpoch",
        messages.begin_to_pb,
        pb.EpochResponse,
        messages.epoch_answer_from_pb,
    ),
    raft.EndQuorumEpochRequest: (
        "EndQuorumEpoch",
        messages.end_to_pb,
        pb.EpochResponse,
        messages.epoch_answer_from_pb,
    ),
    raft.FetchRequest: ("Fetch", messages.fetch_to_pb, pb.QuorumFetchResponse, messages.fetch_answer_from_pb),
    raft.FetchSnapshotRequest: (
        "FetchSnapshot",
        messages.snapshot_to_pb,
        pb.FetchSnapshotResponse,
        messages.snapshot_answer_from_pb,
    ),
}
