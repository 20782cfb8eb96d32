"""What is done about a replica that is damaged here, by what metadata says of it: pure.

    damage is found ─→ REPORT ─→ the controller lets another lead, and marks the replica as offline
                    ─→ CUT: from the first damaged segment on, nothing counts on it any more
                    ─→ fetched from the leader, which knows now how far it still goes
                    ─→ RETURN: the mark goes, and it joins the in-sync set when it has caught up

| who leads    | in the ISR, or eligible | marked | cut     | step   | because                                        |
|--------------|-------------------------|--------|---------|--------|------------------------------------------------|
| this broker  | –                       | –      | –       | REPORT | somebody else may have everything by now       |
| nobody       | –                       | no     | –       | WAIT   | it may be the last resort                      |
| nobody       | –                       | yes    | –       | RETURN | the same; who leads next knows no old position |
| another      | yes                     | –      | no      | REPORT | nothing may be cut that counts                 |
| another      | no                      | no     | no      | REPORT | its leader may be about to take it in          |
| another      | no                      | yes    | no      | CUT    |                                                |
| another      | no                      | yes    | fetched | RETURN | its leader knows the new position              |
| another      | no                      | yes    | yes     | WAIT   | the leader remembers the old one               |

The mark is what keeps its leader from taking it back for what it had: without it a cut log could get into the ISR.
"""

from enum import Enum

from broker.metadata.state import PartitionState


class Step(Enum):
    REPORT = "tell the controller"
    CUT = "cut the log to its first damaged segment, and fetch it anew"
    RETURN = "tell the controller that it may be in sync again"
    WAIT = "nothing, before something changes"


class Progress(Enum):
    """How far the repair is."""

    DAMAGED = "as it was found"
    CUT = "cut"
    FETCHED = "cut, and its leader has heard from it since"


def next_step(state: PartitionState, node_id: int, progress: Progress, *, is_marked: bool) -> Step:
    """See the table."""
    if not state.has_leader:
        return Step.RETURN if is_marked else Step.WAIT
    if progress is Progress.FETCHED:
        return Step.RETURN
    if progress is Progress.CUT:
        return Step.WAIT
    counts = node_id in state.isr or node_id in state.eligible_replicas
    if state.leader == node_id or counts or not is_marked:
        return Step.REPORT
    return Step.CUT
