"""Disks that change what they hold: the scrub, and what follows from what it finds."""

from simulation.faults import Fault
from tests.bugs.bug import Bug, Scenario

BIT_ROT = Scenario("bit-rot", (Fault.SLOW_DISK,))

ROT_BUGS = (
    Bug(
        "scrub-ignored",
        "what the scrub finds has no consequence",
        "NATS 2.12.1",
        "broker.maintenance.scrubber",
        "Scrubber._check",
        "is_news = take_verdict(log, job, segment, scrubbed.damages)",
        "is_news = None",
        BIT_ROT,
        1,
    ),
    Bug(
        "damaged-leader-stays",
        "a damaged leader keeps its leadership",
        "NATS 2.12.1",
        "broker.replication.damaged",
        "next_step",
        "return Step.REPORT",
        "return Step.WAIT if state.leader == node_id else Step.REPORT",
        BIT_ROT,
        1,
    ),
    Bug(
        "nothing-fetched-anew",
        "a damaged replica comes back without having cut anything",
        "NATS 2.12.1",
        "broker.replication.damaged",
        "next_step",
        "return Step.CUT",
        "return Step.RETURN",
        BIT_ROT,
        1,
    ),
    Bug(
        "returns-too-soon",
        "a cut replica may be in sync again before its leader knows how far it still goes",
        "NATS 2.12.1; invariant 8",
        "broker.replication.damaged",
        "next_step",
        "if progress is Progress.CUT:\n        return Step.WAIT",
        "if progress is Progress.CUT:\n        return Step.RETURN",
        BIT_ROT,
        1,
    ),
)
