"""Where the other replicas listen: as the voter set in the log says, as the operator lists them, and as others tell.

These part when a cluster is started again on other ports, when a voter was moved while an old list still stands in
somebody's configuration, and when voters were added whom neither our log nor the list names yet. The log is believed
first. An address that fails is left for another one, if there is one, so that they take turns until one answers, and
that one stays.

A wrong replica may listen there: voters that were given each other's addresses while the cluster was down. It must
refuse what is not meant for it (`QuorumTransport`), which counts as failing. Its answers could elect or commit nothing
that is wrong, since whatever is counted names its replica, id and directory, or continues a log that is compared; but
as an ordinary answer each would keep the right address from being tried, and "I do not lead", taken for the word of the
leader, would end an epoch that has one.
"""

from typing import Final

from raft.events import NodeId, VoterSet
from raft.ports import Peer

TOLD_MAX: Final = 1_000  # of the nodes that others told of, those told last


class Addresses:
    def __init__(self, listed: tuple[Peer, ...]) -> None:
        self._listed = {peer.node_id: peer for peer in listed}
        self._told: dict[NodeId, Peer] = {}
        self._failed: dict[NodeId, Peer] = {}  # by node, the address that failed last; at most one each

    def of(self, node_id: NodeId, voters: VoterSet | None) -> Peer | None:
        """Where to try next; None where nobody has told."""
        known = [
            Peer(node_id, voter.host, voter.port)
            for voter in (voters.voters if voters is not None else ())
            if voter.key.node_id == node_id
        ]
        known += [source[node_id] for source in (self._listed, self._told) if node_id in source]
        known = list(dict.fromkeys(known))
        failed = self._failed.get(node_id)
        if failed in known:  # the next one in turn
            at = known.index(failed)
            known = known[at + 1 :] + known[: at + 1]
        return known[0] if known else None

    def tell(self, peer: Peer) -> None:
        """Another replica says where this one listens."""
        self._told.pop(peer.node_id, None)
        self._told[peer.node_id] = peer
        if len(self._told) > TOLD_MAX:
            del self._told[next(iter(self._told))]

    def failed(self, peer: Peer) -> None:
        self._failed[peer.node_id] = peer
