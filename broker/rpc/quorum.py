"""The quorum between nodes over calls: the service that one replica offers, and the way to the others.

A message of another cluster is refused, and so are one that is meant for another replica, whose address this was, and
one that comes before the replica has begun: its sender asks again, elsewhere where it knows another address.

Every replica, voter or observer, always has a Fetch waiting at the leader. Where that call ends because its connection
did, the process behind it is gone as a rule, and `on_abandoned_fetch` tells: without it the loss of a broker that leads
nothing would show only by its silence, and hold up every acks=all of the partitions that it follows until then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message

from broker.metadata.features import NodeRelease
from broker.metadata.records import SupportedFeature
from broker.quorum.entries import key_from_pb, key_to_pb, voters_from_pb, voters_to_pb
from broker.quorum.founding import Founding, refuse_other_cluster
from broker.rpc import quorum_messages as messages
from broker.rpc.methods import full_name, unary
from kraftpy.errors import KraftpyError
from kraftpy.pb import quorum_pb2 as pb
from kraftpy.runtime.ports import Address, BadRequest, Clock, Methods, RemoteFailure, Transport, TransportError
from raft import events as raft
from raft.errors import Overloaded, Stopped
from raft.founding import Answer, Foundation, ListedVoter
from raft.node import RaftNode
from raft.ports import Peer
from raft.status import QuorumStatus

SERVICE = "Quorum"
ADDRESSES_MAX = 2_000  # of replicas whose addresses are remembered; beyond it those heard longest ago go


class QuorumService:
    """What others may ask of this replica. `replica`, `cluster_id` and `own_address` are set when it begins.

    `on_abandoned_fetch(node_id)` is called when a replica's Fetch ends before its answer: evidence, not proof.
    `on_moved(key, address)` is called with every Fetch of a voter that takes calls elsewhere than the voter set says.
    """

    def __init__(self, founding: Founding, features: Sequence[SupportedFeature] = (), release: str = "") -> None:
        """`features` and `release` are what this process can work with, told to whoever asks."""
        self.cluster_id: str | None = None
        self.replica: RaftNode | None = None
        self.own_address: Address | None = None
        self.on_abandoned_fetch: Callable[[int], None] = lambda node_id: None
        self.on_moved: Callable[[raft.ReplicaKey, Address], None] = lambda key, address: None
        self._founding = founding
        self._features = features
        self._release = release
        self._addresses: dict[raft.ReplicaKey, Address] = {}  # as replicas tell them; those heard last at the end

    def address_of(self, key: raft.ReplicaKey) -> Address | None:
        """Where a replica that fetches from here takes calls; None where it did not say, because it may not vote."""
        return self._addresses.get(key)

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
        served = unary(SERVICE, handlers)
        return Methods(served, {}, frozenset(served))

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
        if status is not None and status.voters is not None:
            response.current_voters.CopyFrom(voters_to_pb(status.voters))
        response.release = self._release
        for feature in self._features:
            response.features[feature.name].min_level = feature.min_level
            response.features[feature.name].max_level = feature.max_level
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
            if request.HasField("receiver_id") and request.receiver_id != self.replica.key.node_id:
                raise BadRequest(f"this is node {self.replica.key.node_id}, not node {request.receiver_id}")
            try:
                asked = decode(request)
                self._note_address(self.replica, request, asked)
                response = await self._handle(self.replica, asked)
                return self._with_leader_address(self.replica, encode(response), response.leader_id)
            except (Overloaded, Stopped, ValueError) as error:
                raise BadRequest(str(error)) from None

        return answer

    def _note_address(self, replica: RaftNode, request: Any, asked: raft.Request) -> None:
        """Remember where the asker takes calls, if it says so."""
        if isinstance(asked, raft.BeginQuorumEpochRequest) and request.HasField("leader_address"):
            told = request.leader_address
            replica.tell_address(Peer(asked.leader_id, told.host, told.port))
        elif isinstance(asked, raft.FetchRequest):
            self._addresses.pop(asked.replica, None)
            if request.HasField("address"):
                address = Address(request.address.host, request.address.port)
                self._addresses[asked.replica] = address
                voter = replica.voter(asked.replica)
                if voter is not None and (voter.host, voter.port) != address:
                    self.on_moved(asked.replica, address)
            if len(self._addresses) > ADDRESSES_MAX:
                del self._addresses[next(iter(self._addresses))]

    def _with_leader_address(self, replica: RaftNode, message: Any, leader_id: raft.NodeId | None) -> Message:
        """Whoever is told of a leader is told where it is, since neither its log nor its list may name it yet."""
        if leader_id is not None:
            peer = replica.peer_of(leader_id)
            if leader_id == replica.key.node_id and self.own_address is not None:
                message.leader_address.CopyFrom(_address_to_pb(self.own_address))
            elif peer is not None:
                message.leader_address.CopyFrom(_address_to_pb(Address(peer.host, peer.port)))
        return message  # type: ignore[no-any-return]

    async def _handle(self, replica: RaftNode, request: raft.Request) -> raft.Response:
        try:
            return await replica.handle(request)
        except asyncio.CancelledError:
            if isinstance(request, raft.FetchRequest):
                self.on_abandoned_fetch(request.replica.node_id)
            raise


class QuorumClient:
    """`raft.ports.QuorumTransport` over calls. `cluster_id` and `own_address` are set before the replica begins.

    `on_address(peer)` is called with the address of a leader that an answer names.
    """

    def __init__(self, transport: Transport, clock: Clock, *, may_vote: bool = True) -> None:
        """`may_vote`: whether this replica tells the leader where it is, so that it can be made a voter."""
        self.cluster_id = ""
        self.own_address: Address | None = None
        self.on_address: Callable[[Peer], None] = lambda peer: None
        self._may_vote = may_vote
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
        asked: Any = encode(request, self.cluster_id)
        asked.receiver_id = to.node_id
        data = self._with_own_address(asked).SerializeToString()
        answer = await self._transport.call(Address(to.host, to.port), full_name(SERVICE, method), data, timeout_ms)
        self._heard_at_ms[to.node_id] = self._clock.monotonic_ms()
        try:
            told: Any = message.FromString(answer)
            response: raft.Response = decode(told)
        except (DecodeError, ValueError, KraftpyError) as error:
            raise RemoteFailure(f"node {to.node_id} answered {method} with what cannot be read: {error}") from error
        if response.leader_id is not None and told.HasField("leader_address"):
            self.on_address(Peer(response.leader_id, told.leader_address.host, told.leader_address.port))
        return response

    def _with_own_address(self, message: Any) -> Message:
        if self.own_address is not None:
            if isinstance(message, pb.QuorumFetchRequest) and self._may_vote:
                message.address.CopyFrom(_address_to_pb(self.own_address))
            elif isinstance(message, pb.BeginQuorumEpochRequest):
                message.leader_address.CopyFrom(_address_to_pb(self.own_address))
        return message  # type: ignore[no-any-return]

    async def describe(self, voter: ListedVoter, timeout_ms: int) -> Answer:
        """What a listed voter says of itself. Raises `TransportError`, `ValueError`."""
        response = await self._describe(Address(voter.host, voter.port), timeout_ms)
        foundation = None
        if response.cluster_id:
            voters = voters_from_pb(response.voters) if response.HasField("voters") else None
            foundation = Foundation(response.cluster_id, voters)
        current = voters_from_pb(response.current_voters) if response.HasField("current_voters") else None
        return Answer(key_from_pb(response.key), tuple(response.listed), foundation, current)

    async def describe_release(self, voter: raft.Voter, timeout_ms: int) -> NodeRelease | None:
        """What a voter's process can work with; None where it does not answer, or another node does."""
        try:
            response = await self._describe(Address(voter.host, voter.port), timeout_ms)
            if key_from_pb(response.key) != voter.key:
                return None
        except (TransportError, ValueError):
            return None
        ranges = {
            name: (response.features[name].min_level, response.features[name].max_level) for name in response.features
        }
        features = tuple(SupportedFeature(name, *ranges[name]) for name in sorted(ranges))
        return NodeRelease(voter.key.node_id, response.release, features)

    async def _describe(self, address: Address, timeout_ms: int) -> pb.DescribeReplicaResponse:
        data = pb.DescribeReplicaRequest().SerializeToString()
        answer = await self._transport.call(address, full_name(SERVICE, "Describe"), data, timeout_ms)
        try:
            return pb.DescribeReplicaResponse.FromString(answer)
        except DecodeError as error:
            raise ValueError(f"{address} answers with what cannot be read: {error}") from None


def _address_to_pb(address: Address) -> pb.ReplicaAddress:
    return pb.ReplicaAddress(host=address.host, port=address.port)


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
