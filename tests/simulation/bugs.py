"""Bugs planted into the real code, one scenario each: what the simulation of the whole cluster is worth.

Each takes one defence away, by a replacement in one method's source, for as long as a run lasts. The method must still
hold what is replaced, so a bug that its code has outgrown is noticed.
"""

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from broker.controller import elections
from broker.controller.brokers import Brokers
from broker.controller.eligible import Rules
from broker.controller.features import Features
from broker.controller.reassignments import Reassignments
from broker.coordinator.groups import committing, reconciliation
from broker.coordinator.groups.classic_group import ClassicGroup
from broker.coordinator.groups.core import GroupCore
from broker.coordinator.shard import Shard
from broker.coordinator.transactions.core import TransactionCore
from broker.coordinator.transactions.gate import CoordinatorGate
from broker.coordinator.transactions.markers import MarkerSender
from broker.maintenance.scrubber import Scrubber
from broker.metadata import codec
from broker.quorum.log import QuorumLog
from broker.replication import leader, repairs
from broker.replication.isr import InSyncSet
from broker.replication.partition import Partition
from kraftpy.client.group.classic_member import ClassicMember
from log_store.producer_state import ProducerState
from simulation.faults import Fault, Plan
from simulation.scenario import Scenario
from simulation.scenarios.bit_rot import BIT_ROT
from simulation.scenarios.groups import CLUSTER_GROUPS, groups_of
from simulation.scenarios.last_replicas import CLUSTER_LAST_REPLICAS
from simulation.scenarios.transactions import CLUSTER_TRANSACTIONS
from simulation.scenarios.upgrade import CLUSTER_UPGRADE
from simulation.scenarios.whole_cluster import CLUSTER
from simulation.world import World


@dataclass(frozen=True, slots=True)
class Bug:
    """`owner` is a class or a module, `name` of its function, whose source has `good` in it."""

    about: str
    owner: object
    name: str
    good: str
    bad: str
    faults: tuple[Fault, ...] = CLUSTER.faults  # that bring it to light
    first_seed: int = 0  # where a test begins to look, so that it need not look for long
    found_by: Scenario = CLUSTER

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The bug is there inside the `with`."""
        original = inspect.getattr_static(self.owner, self.name)
        function: Any = original.fget if isinstance(original, property) else original
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.good) == 1, f"{self.name} has outgrown the bug: {self.good!r} is not in it once"
        names: dict[str, object] = {}
        exec(compile(source.replace(self.good, self.bad), f"<{self.about}>", "exec"), function.__globals__, names)
        setattr(self.owner, self.name, names[self.name])
        try:
            yield
        finally:
            setattr(self.owner, self.name, original)

    def scenario(self) -> Scenario:
        """A whole cluster with this bug."""

        async def run(world: World, plan: Plan) -> str:
            with self.planted():
                return await self.found_by.run(world, plan)

        return replace(self.found_by, name=self.about, about=self.about, run=run, faults=self.faults)


BUGS = {
    "UNFLUSHED": Bug(
        "the high watermark counts ends that are not flushed",
        Partition,
        "evaluate",
        "self.log.flushed_offset",
        "self.log.end_offset",
        first_seed=20,
    ),
    "NOT_CUT": Bug(
        "a leader does not tell where a follower's log parts from its own",
        Partition,
        "_diverging",
        "return None if end is None else Diverging(end.epoch, end.end_offset)",
        "return None",
        (Fault.KILL, Fault.PAUSE, Fault.ISOLATION),
    ),
    "EARLY_MEMBER": Bug(
        "a replica joins the in-sync set before it has everything",
        leader,
        "has_caught_up",
        "return follower.end_offset >= max(high_watermark, epoch_start_offset)",
        "return True",
        (Fault.POWER_FAILURE, Fault.KILL, Fault.ISOLATION),
    ),
    "EARLY_SHRINK": Bug(
        "a leader counts on a smaller in-sync set before the controller has agreed",
        InSyncSet,
        "maximal",
        "tuple(sorted({*self.committed, *self.proposed}))",
        "self.proposed",
        (Fault.CLOGGED, Fault.ONE_WAY, Fault.SLOW_LINK),
        first_seed=12,
    ),
    "SAME_EPOCH": Bug(
        "a broker that registers anew goes on leading in the epochs of its last life",
        Brokers,
        "register",
        "elections = self._leave(broker_id, Loss.ALL if new_disk else Loss.NOTHING if was_clean else Loss.UNFLUSHED)",
        "elections = []",
        (Fault.KILL, Fault.POWER_FAILURE),
    ),
    "APPENDED_TWICE": Bug(
        "a retry is not recognized",
        ProducerState,
        "check",
        "return batch\n",
        "return None\n",
        (Fault.LOSSY, Fault.PAUSE),
    ),
    "UNFLUSHED_QUORUM": Bug(
        "the quorum's log is not flushed",
        QuorumLog,
        "flush",
        "await self._disk.run(flush.run)",
        "await self._disk.run(lambda: None)",
        (Fault.POWER_FAILURE_OF_ALL,),
    ),
}
"""Of everything but transactions."""

TRANSACTION_BUGS = {
    "FIRST_MARKER_ONLY": Bug(
        "a transaction ends where its first partition is, and nowhere else",
        MarkerSender,
        "send",
        "remaining = list(effect.partitions)",
        "remaining = list(effect.partitions[:1])",
        found_by=CLUSTER_TRANSACTIONS,
    ),
    "NOT_RESUMED": Bug(
        "a new coordinator does not go on with what was decided",
        TransactionCore,
        "loaded",
        "if metadata.state.is_decided",
        "if False",
        (Fault.KILL, Fault.POWER_FAILURE, Fault.ISOLATION),
        first_seed=8,
        found_by=CLUSTER_TRANSACTIONS,
    ),
    "NEVER_FENCED": Bug(
        "whoever took too long, or lost its id, keeps its epoch",
        TransactionCore,
        "_fenced",
        "epoch, version = fenced(metadata.producer_epoch, metadata.version)",
        "epoch, version = metadata.producer_epoch, metadata.version",
        found_by=CLUSTER_TRANSACTIONS,
    ),
    "NEVER_ASKED": Bug(
        "leaders let transactions begin that their coordinator knows nothing of",
        CoordinatorGate,
        "admit",
        "answers = await self._asked(admission, timeout_ms)",
        "answers = [None] * len(admission.partitions)",
        found_by=CLUSTER_TRANSACTIONS,
    ),
    "UNSETTLED_OFFSETS": Bug(
        "a group's offsets count before their transaction is committed",
        GroupCore,
        "end_transaction",
        "self._offsets.end_transaction(producer_id, committed)",
        "self._offsets.end_transaction(producer_id, True)",
        found_by=CLUSTER_TRANSACTIONS,
    ),
}

LAST_REPLICAS_BUGS = {
    "ALL_ELIGIBLE": Bug(
        "every replica is eligible, also one that left while records were still committed",
        Rules,
        "eligible",
        "if (broker_id in before.isr or broker_id in before.eligible_replicas)",
        "if True",
        found_by=CLUSTER_LAST_REPLICAS,
    ),
    "ELECTED_UNASKED": Bug(
        "where nobody eligible lives, whoever is there leads",
        elections,
        "_is_alone",
        "return not state.isr and not state.eligible_replicas and state.last_known_elr == state.replicas",
        "return True",
        found_by=CLUSTER_LAST_REPLICAS,
    ),
    "NOBODY_ELIGIBLE": Bug(
        "an eligible replica that comes back is not elected",
        elections,
        "_led_from_inside",
        "leader = first_live(after.eligible_replicas, after, is_live)",
        "leader = NO_LEADER",
        found_by=CLUSTER_LAST_REPLICAS,
    ),
}

UPGRADE_BUGS = {
    "NEWEST_WORDS": Bug(
        "a record is written in its newest version, whatever it says",
        codec,
        "_version_of",
        "return 2 if record.original_replicas else 1",
        "return 2",
        found_by=CLUSTER_UPGRADE,
    ),
    "RELEASE_TOO_EARLY": Bug(
        "registrations name their release before the level that brought it is finalized",
        Brokers,
        "register",
        "< RELEASE_IN_REGISTRATIONS",
        "< 0",
        found_by=CLUSTER_UPGRADE,
    ),
    "FINALIZED_TOO_EARLY": Bug(
        "levels are finalized that a registered broker cannot work with",
        Features,
        "_nodes",
        'yield f"broker {broker_id}{state}", broker.registration.features',
        'yield f"broker {broker_id}{state}", SUPPORTED_FEATURES',
        found_by=CLUSTER_UPGRADE,
    ),
    "MOVED_TOO_EARLY": Bug(
        "partitions are moved before the level that has words for it is finalized",
        Reassignments,
        "alter",
        "if level < REASSIGNMENTS:",
        "if False:",
        found_by=CLUSTER_UPGRADE,
    ),
}

TRANSACTIONAL = groups_of("transactions", "transactions-consumer")
CONSUMERS = groups_of("consumer", "consumer-range", "consumer-pattern")
EAGER = groups_of("eager", "eager-sticky", "roundrobin")

GROUP_BUGS = {
    "INVARIANT_14_RETRY_NOT_RECOGNIZED": Bug(
        "a producer's retry is not recognized, and stands there twice",
        ProducerState,
        "check",
        "return batch\n",
        "return None\n",
        (Fault.LOSSY, Fault.PAUSE),
        found_by=CLUSTER_GROUPS,
    ),
    "INVARIANT_15_OFFSETS_OF_ABORTED_COUNT": Bug(
        "a group's offsets count although their transaction was aborted",
        GroupCore,
        "end_transaction",
        "self._offsets.end_transaction(producer_id, committed)",
        "self._offsets.end_transaction(producer_id, True)",
        found_by=TRANSACTIONAL,
    ),
    "INVARIANT_16_NEVER_OVERDUE": Bug(
        "a transaction whose producer died is open for ever",
        TransactionCore,
        "tick",
        "return self._abort_overdue()",
        "return self._forget_expired()",
        first_seed=8,
        found_by=TRANSACTIONAL,
    ),
    "INVARIANT_17_ASSIGNED_UNRELEASED": Bug(
        "a member is given partitions before the one who had them has given them up (KIP-848)",
        reconciliation,
        "_step",
        "if group.owner_of(place) in (None, member_id)",
        "if True",
        found_by=CONSUMERS,
    ),
    "INVARIANT_17_KEPT_BY_EAGER_MEMBERS": Bug(
        "an eager member keeps what it owns while others are given it (KIP-429)",
        ClassicMember,
        "_prepare",
        "places = self.owned",
        "places = ()",
        found_by=EAGER,
    ),
    "INVARIANT_17_LOG_NOT_READ": Bug(
        "a new coordinator begins without what its log says",
        Shard,
        "_load",
        "end_offset = self._log.end_offset",
        "end_offset = self._log.start_offset",
        (Fault.KILL, Fault.POWER_FAILURE),
        found_by=CLUSTER_GROUPS,
    ),
    "INVARIANT_18_FORMER_MEMBERS_COMMIT_BY_EPOCH": Bug(
        "who is no member any more commits (KIP-848)",
        committing,
        "_check_epoch",
        'raise UnknownMemberIdError(f"group {group.group_id} has no member {member_id!r}")',
        "return",
        (Fault.PAUSE, Fault.ISOLATION),
        found_by=CONSUMERS,
    ),
    "INVARIANT_18_STRANGERS_COMMIT": Bug(
        "somebody who is no member sets the offsets of a group that has members",
        committing,
        "_check_commit",
        'raise UnknownMemberIdError(f"group {group.group_id} has members: only they commit its offsets")',
        "return",
        first_seed=1,
        found_by=EAGER,
    ),
    "INVARIANT_18_STATIC_MEMBERS_UNFENCED": Bug(
        "a static member whose place another has taken goes on (KIP-345)",
        ClassicGroup,
        "validated",
        "if static.member_id != key.member_id:",
        "if False:",
        first_seed=7,
        found_by=EAGER,
    ),
}
"""By the invariants of the reference."""
ROT_BUGS = {
    "SCRUB_IGNORED": Bug(
        "what the scrub finds has no consequence",
        Scrubber,
        "_check",
        "is_news = log.take_verdict(job, segment, scrubbed.damages)",
        "is_news = None",
        faults=(Fault.SLOW_DISK,),
        found_by=BIT_ROT,
    ),
    "DAMAGED_LEADER_STAYS": Bug(
        "a damaged leader keeps its leadership",
        repairs,
        "next_step",
        "return Step.REPORT",
        "return Step.WAIT if state.leader == node_id else Step.REPORT",
        faults=(Fault.SLOW_DISK,),
        found_by=BIT_ROT,
    ),
    "NOTHING_IS_FETCHED_ANEW": Bug(
        "a damaged replica comes back without having cut anything",
        repairs,
        "next_step",
        "return Step.CUT",
        "return Step.RETURN",
        faults=(Fault.SLOW_DISK,),
        found_by=BIT_ROT,
    ),
    "RETURNS_TOO_SOON": Bug(
        "a cut replica may be in sync again before its leader knows how far it still goes",
        repairs,
        "next_step",
        """if progress is Progress.CUT:
        return Step.WAIT""",
        """if progress is Progress.CUT:
        return Step.RETURN""",
        faults=(Fault.SLOW_DISK,),
        found_by=BIT_ROT,
    ),
}
"""Found by the scenario of disks that change what they hold."""
ALL = {**BUGS, **TRANSACTION_BUGS, **LAST_REPLICAS_BUGS, **UPGRADE_BUGS, **GROUP_BUGS, **ROT_BUGS}


def __getattr__(name: str) -> Scenario:
    """The scenarios of the bugs, for `simulation.scenario.find_scenario`."""
    if name not in ALL:
        raise AttributeError(name)
    return ALL[name].scenario()
