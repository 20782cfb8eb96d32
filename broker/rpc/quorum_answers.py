"""The quorum's state as its leader tells it to administrators. Pure."""

from collections.abc import Callable

from broker.metadata.image import MetadataImage
from kraftpy.errors import NotControllerError
from kraftpy.pb.admin_pb2 import DescribeQuorumResponse, QuorumReplica
from kraftpy.runtime.ports import Address
from raft.events import ReplicaKey
from raft.status import QuorumStatus, ReplicaStatus

UNKNOWN = -1


def quorum_description(
    status: QuorumStatus, image: MetadataImage, address_of: Callable[[ReplicaKey], Address | None]
) -> DescribeQuorumResponse:
    """Voters and observers, in the leader's order: itself first. Raises `NotControllerError` on any other replica."""
    if not status.replicas or status.leader_id is None:
        raise NotControllerError("this node does not lead the quorum")
    voters = status.voters.voters if status.voters else ()
    addresses = {voter.key: Address(voter.host, voter.port) for voter in voters}
    described = [
        (
            each.is_voter,
            _replica(each, addresses.get(each.key) or address_of(each.key) or _registered_address(each, image)),
        )
        for each in status.replicas
    ]
    return DescribeQuorumResponse(
        leader_id=status.leader_id,
        leader_epoch=status.epoch,
        high_watermark=status.high_watermark,
        voters=[replica for is_voter, replica in described if is_voter],
        observers=[replica for is_voter, replica in described if not is_voter],
    )


def _replica(status: ReplicaStatus, address: Address) -> QuorumReplica:
    return QuorumReplica(
        node_id=status.key.node_id,
        directory_id=status.key.directory_id.bytes,
        host=address.host,
        port=address.port,
        log_end_offset=status.end_offset,
        last_fetch_age_ms=UNKNOWN if status.last_fetch_age_ms is None else status.last_fetch_age_ms,
        last_caught_up_age_ms=UNKNOWN if status.last_caught_up_age_ms is None else status.last_caught_up_age_ms,
    )


def _registered_address(status: ReplicaStatus, image: MetadataImage) -> Address:
    """Where an observer listens: it is in no voter set, but is a broker."""
    return image.grpc_address(status.key.node_id) or Address("", 0)
