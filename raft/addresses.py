"""Where the other replicas listen: as the voter set in the log says, and as the operator lists them.

The two part when a cluster is started again on other ports, and when a voter was moved while an old list still stands
in somebody's configuration. The log is believed first. An address that fails is left for the other one, if there is
one, so that they take turns until one answers, and that one stays. Reaching a wrong replica does no harm: whatever is
counted names its replica, id and directory, or continues a log that is compared.
"""

from raft.events import NodeId, VoterSet
from raft.ports import Peer


class Addresses:
    def __init__(self, listed: tuple[Peer, ...]) -> None:
        self._listed = {peer.node_id: peer for peer in listed}
        self._failed: dict[NodeId, Peer] = {}  # by node, the address that failed last; at most one each

    def of(self, node_id: NodeId, voters: VoterSet | None) -> Peer | None:
        """Where to try next; None where nobody has told."""
        known = [
            Peer(node_id, voter.host, voter.port)
            for voter in (voters.voters if voters is not None else ())
            if voter.key.node_id == node_id
        ]
        if node_id in self._listed:
            known.append(self._listed[node_id])
        failed = self._failed.get(node_id)
        return next((peer for peer in known if peer != failed), known[0] if known else None)

    def failed(self, peer: Peer) -> None:
        self._failed[peer.node_id] = peer
