"""Many random stories of one classic group: members that join, sync, leave, fall silent and come back, administrators,
transactions, time, refusals of the log and failovers; what must always hold is checked after every step.

Invariants 17 and 18 of the reliability catalogue, here: a generation hands each member one assignment, and two
generations never are in use at once; generations that were handed out never go back; committed offsets never go back
unless they were deleted, and survive failovers; a member or generation that was fenced changes nothing; every command
is answered once; replaying the log gives the durable state.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.coordinator.core import Producer
from broker.coordinator.groups.codec import GroupRecordCodec
from broker.coordinator.groups.commands import (
    NO_GENERATION,
    NO_OFFSET,
    CommitOffsets,
    DeleteGroup,
    Heartbeat,
    Joined,
    LeaveGroup,
    MemberIdAssigned,
    MemberKey,
    OffsetToCommit,
    Synced,
)
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.core import GroupCore
from kraftpy.errors import (
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    IllegalGenerationError,
    KraftpyError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from tests.coordinator.groups.stage import GROUP, Stage, join, offers, sync

CLIENTS = st.integers(0, 4)


class Client:
    """A consumer as Kafka's own behave: it follows the answers, and forgets who it is when it is told to."""

    def __init__(self, index: int) -> None:
        self.instance_id = f"i{index}" if index == 0 else None
        self.topics: tuple[str, ...] = ("t",)
        self.member_id = ""
        self.joined: Joined | None = None
        self.waits_for: int | None = None  # a ticket
        self.is_in: int | None = None  # the generation that it has an assignment of

    def forget(self) -> None:
        self.member_id, self.joined, self.is_in = "", None, None


class Groups(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(GroupConfig(initial_rebalance_delay_ms=1_000, members_max=4))
        self.clients = [Client(index) for index in range(5)]
        self.last_generation = 0
        self.committed = NO_OFFSET
        self.next_offset = 0
        self.open: dict[int, int] = {}  # offsets of open transactions by producer id

    # --- clients -----------------------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 4))
    def a_round_of_the_first_few(self, count: int) -> None:
        """They do what they should, until nothing is left to do for any."""
        for _ in range(3):
            for client in self.clients[:count]:
                self._go_on(client)
            self.stage.pass_time(1_000)
            self._look()

    @rule(index=CLIENTS)
    def goes_on(self, index: int) -> None:
        self._go_on(self.clients[index])

    @rule(index=CLIENTS, other_topics=st.booleans())
    def joins(self, index: int, other_topics: bool) -> None:
        self.clients[index].topics = ("t", "u") if other_topics else ("t",)
        self._join(self.clients[index])

    def _go_on(self, client: Client) -> None:
        if client.waits_for is not None:
            return
        if client.joined is None:
            self._join(client)
        elif client.is_in is None:
            self._sync(client)

    def _join(self, client: Client) -> None:
        client.joined, client.is_in = None, None
        client.waits_for = self.stage.send(
            join(
                client.member_id,
                instance_id=client.instance_id,
                needs_member_id=True,
                protocols=offers(range=client.topics),
                rebalance_timeout_ms=20_000,
            )
        )
        self._look()

    def _sync(self, client: Client) -> None:
        if client.joined is None or client.waits_for is not None:
            return
        names = [each.key.member_id for each in client.joined.members]
        assignments = () if client.joined.skip_assignment else tuple((name, name.encode()) for name in names)
        client.waits_for = self.stage.send(sync(client.joined, assignments, instance_id=client.instance_id))
        self._look()

    @rule(index=CLIENTS)
    def beats(self, index: int) -> None:
        client = self.clients[index]
        if client.joined is not None:
            key = MemberKey(client.member_id, client.instance_id)
            answer = self.stage.ask(Heartbeat(GROUP, key, client.joined.generation))
            self._follow(client, answer)

    @rule(index=CLIENTS)
    def leaves(self, index: int) -> None:
        client = self.clients[index]
        if client.member_id:
            self.stage.ask(LeaveGroup(GROUP, (MemberKey(client.member_id, client.instance_id),)))
            client.forget()
            self._look()

    @rule(index=CLIENTS)
    def dies(self, index: int) -> None:
        self.clients[index].forget()
        self.clients[index].waits_for = None

    @rule(index=CLIENTS, stale=st.booleans())
    def commits(self, index: int, stale: bool) -> None:
        client = self.clients[index]
        joined = client.joined
        if joined is None:
            return
        self.next_offset += 1
        generation = joined.generation - stale
        key = MemberKey(client.member_id, client.instance_id)
        answer = self.stage.ask(CommitOffsets(GROUP, key, generation, (OffsetToCommit("t", 0, self.next_offset),)))
        if isinstance(answer, KraftpyError):
            self._follow(client, answer)
        else:
            # one that was not handed out before a failover has never been, so the one before it is not over
            group = self.stage.core.groups.classic(GROUP)
            assert group is not None and generation in (group.generation, NO_GENERATION), "a fenced generation commits"
            self.committed = self.next_offset

    # --- transactions ------------------------------------------------------------------------------------------------

    @rule(producer_id=st.integers(1, 2))
    def commits_in_transaction(self, producer_id: int) -> None:
        self.next_offset += 1
        answer = self.stage.commit_in_transaction(Producer(producer_id, 0), self.next_offset)
        if answer is None:
            self.open[producer_id] = self.next_offset

    @rule(producer_id=st.integers(1, 2), commit=st.booleans())
    def ends_transaction(self, producer_id: int, commit: bool) -> None:
        self.stage.end_transaction(Producer(producer_id, 0), commit)
        offset = self.open.pop(producer_id, NO_OFFSET)
        if commit:
            self.committed = max(self.committed, offset)  # numbers grow in the order of the log

    # --- others ------------------------------------------------------------------------------------------------------

    @rule()
    def deletes_the_group(self) -> None:
        if self.stage.ask(DeleteGroup(GROUP)) is None:
            self.committed, self.last_generation = NO_OFFSET, 0
            self.open.clear()

    @rule(by_ms=st.sampled_from([1, 1_000, 5_000, 10_000, 20_000]))
    def time_passes(self, by_ms: int) -> None:
        self.stage.pass_time(by_ms)
        self._look()

    @rule(by_ms=st.sampled_from([1, 10_000]))
    def the_log_refuses_for_a_while(self, by_ms: int) -> None:
        self.stage.refusal = CoordinatorNotAvailableError("too few replicas")
        for client in self.clients:
            self._sync(client)
        self.stage.pass_time(by_ms)
        self.stage.refusal = None
        self._look()

    @rule()
    def fails_over(self) -> None:
        self.stage.fail_over()
        for client in self.clients:
            client.waits_for = None

    def _look(self) -> None:
        """What became of those who wait."""
        for client in self.clients:
            if client.waits_for is not None and client.waits_for in self.stage.answers:
                answer = self.stage.answers[client.waits_for]
                client.waits_for = None
                self._take(client, answer)

    def _take(self, client: Client, answer: Any) -> None:
        match answer:
            case MemberIdAssigned(member_id):
                client.member_id = member_id
            case Joined():
                client.member_id, client.joined = answer.member_id, answer
            case Synced():
                assert client.joined is not None
                self._note(client, client.joined.generation, answer.assignment)
            case _:
                self._follow(client, answer)

    def _follow(self, client: Client, error: KraftpyError | None) -> None:
        match error:
            case UnknownMemberIdError() | FencedInstanceIdError():
                client.forget()
            case RebalanceInProgressError() | IllegalGenerationError() | CoordinatorNotAvailableError():
                client.joined, client.is_in = None, None
                client.waits_for = None  # a sync that is under way: whoever joins again does not look at its answer
            case _:
                pass

    def _note(self, client: Client, generation: int, assignment: bytes) -> None:
        """An assignment that a client has been told stands for itself: nobody else's, and the same at every telling."""
        client.is_in = generation
        assert generation >= self.last_generation, "a generation that was handed out went back"
        self.last_generation = generation
        if assignment:
            stored = self.stage.core.stored[GROUP]
            assert stored.generation == generation, "what is handed out is in the log"
            owners = [each.member_id for each in stored.members if each.assignment == assignment]
            assert owners == [client.member_id], "two members of a generation own the same"

    # --- what always holds -------------------------------------------------------------------------------------------

    @invariant()
    def committed_offsets_stand(self) -> None:
        assert self.stage.committed() == self.committed

    @invariant()
    @precondition(lambda self: len(self.stage.log) < 60)
    def the_log_gives_the_durable_state(self) -> None:
        again = GroupCore(self.stage.config, self.stage.random)
        codec = GroupRecordCodec()
        for key, value, producer in self.stage.log:
            if key:
                record = codec.decode(key, value)
                assert record is not None
                again.replay(record, producer)
            else:
                assert producer is not None
                again.end_transaction(producer.producer_id, value == b"commit")
        assert again.stored == self.stage.core.stored
        assert list(again.offsets.of_group(GROUP)) == list(self.stage.core.offsets.of_group(GROUP))

    @invariant()
    def members_and_their_ids_agree(self) -> None:
        group = self.stage.core.groups.classic(GROUP)
        if group is None:
            return
        assert [each.member_id for each in group.members.values()] == list(group.members)
        assert group.joining_count == sum(each.join_ticket is not None for each in group.members.values())
        assert group.joining_count <= 4, "those that join first stay, and nobody beyond the limit"
        if group.state.value in ("CompletingRebalance", "Stable"):
            assert len(group.members) <= 5, "and the static one that is away"
        waiting = {each.join_ticket for each in group.members.values()} | {
            each.sync_ticket for each in group.members.values()
        }
        assert all(ticket in waiting for ticket in self.stage.waiting()), "somebody waits whom nobody knows"


TestGroups = Groups.TestCase
TestGroups.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
