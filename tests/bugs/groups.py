"""Consumer groups: their members, what these own, and the offsets that they commit."""

from simulation.faults import Fault
from tests.bugs.bug import Bug, Scenario, Story

TRANSACTIONAL = "tests.bugs.group_scenarios:TRANSACTIONAL"
CONSUMERS = "tests.bugs.group_scenarios:CONSUMERS"
EAGER = "tests.bugs.group_scenarios:EAGER"
CONSUMER_MEMBER = "tests/client/test_consumer_member.py::test_whatever_happens_the_member_owns_what_it_was_told"

GROUP_BUGS = (
    Bug(
        "retry-read-twice",
        "a producer's retry is not recognized, and members read it twice",
        "invariant 14",
        "log_store.producer_state",
        "ProducerState.check",
        "return batch\n",
        "return None\n",
        Scenario("groups", (Fault.LOSSY, Fault.PAUSE)),
    ),
    Bug(
        "offsets-of-aborted-count",
        "a group's offsets count although their transaction was aborted",
        "invariant 15",
        "broker.coordinator.groups.core",
        "GroupCore.end_transaction",
        "self._offsets.end_transaction(producer_id, committed)",
        "self._offsets.end_transaction(producer_id, True)",
        Scenario(TRANSACTIONAL),
    ),
    Bug(
        "never-overdue",
        "a transaction whose producer died is open for ever",
        "invariant 16",
        "broker.coordinator.transactions.core",
        "TransactionCore.tick",
        "return self._abort_overdue()",
        "return self._forget_expired()",
        Scenario(TRANSACTIONAL),
    ),
    Bug(
        "assigned-unreleased",
        "a member is given partitions before the one who had them has given them up",
        "invariant 17; KIP-848",
        "broker.coordinator.groups.reconciliation",
        "_step",
        "if group.owner_of(place) in (None, member_id)",
        "if True",
        Scenario(CONSUMERS),
    ),
    Bug(
        "answers-not-asked-again",
        "a member whose heartbeat was not answered does not ask what it is to have",
        "the coordinator of a KIP-848 group answers a heartbeat too late",
        "kraftpy.client.group.consumer_member",
        "ConsumerMember.failed",
        "self._says_all = True\n",
        "pass\n",
        Story(CONSUMER_MEMBER, is_random=True),
    ),
    Bug(
        "kept-by-eager-members",
        "an eager member keeps what it owns while others are given it",
        "invariant 17; KIP-429",
        "kraftpy.client.group.classic_member",
        "ClassicMember._prepare",
        "places = self.owned",
        "places = ()",
        Scenario(EAGER),
    ),
    Bug(
        "log-not-read",
        "a new coordinator begins without what its log says",
        "invariant 17",
        "broker.coordinator.shard",
        "Shard._load",
        "end_offset = self._log.end_offset",
        "end_offset = self._log.start_offset",
        Scenario("groups", (Fault.KILL, Fault.POWER_FAILURE)),
    ),
    Bug(
        "former-members-commit",
        "who is no member any more commits",
        "invariant 18; KIP-848",
        "broker.coordinator.groups.committing",
        "_check_epoch",
        'raise UnknownMemberIdError(f"group {group.group_id} has no member {member_id!r}")',
        "return",
        Scenario(CONSUMERS, (Fault.PAUSE, Fault.ISOLATION)),
    ),
    Bug(
        "strangers-commit",
        "somebody who is no member sets the offsets of a group that has members",
        "invariant 18",
        "broker.coordinator.groups.committing",
        "_check_commit",
        'raise UnknownMemberIdError(f"group {group.group_id} has members: only they commit its offsets")',
        "return",
        Scenario(EAGER),
    ),
    Bug(
        "static-members-unfenced",
        "a static member whose place another has taken goes on",
        "invariant 18; KIP-345",
        "broker.coordinator.groups.classic_group",
        "ClassicGroup.validated",
        "if static.member_id != key.member_id:",
        "if False:",
        Scenario(EAGER),
    ),
)
