"""The witness itself, on planted bad histories: whatever it says of a cluster, it would have said otherwise here."""

from collections.abc import Callable
from random import Random
from uuid import UUID

import pytest

from raft.config import RaftConfig
from raft.core import RaftCore
from raft.events import (
    Entry,
    Epoch,
    FetchRequest,
    LogPosition,
    NodeId,
    Offset,
    PersistVote,
    ReplicaKey,
    SnapshotId,
    Voter,
    VoteRequest,
    VoteResponse,
    VoterSet,
)
from raft.log_shape import StoredLog
from tests.raft.invariants import (
    Marks,
    Violation,
    Witness,
    check_forward,
    check_load,
    check_shape,
    check_start,
    check_voters,
)
from tests.raft.memory_log import MemoryLog

KEYS = [ReplicaKey(NodeId(node_id), UUID(int=node_id)) for node_id in (1, 2, 3)]
ONE, TWO, THREE = KEYS
VOTERS = VoterSet(tuple(Voter(key, f"n{key.node_id}", 9093) for key in KEYS))


def entry(offset: int, epoch: int, body: bytes = b"x", count: int = 1) -> Entry:
    return Entry(Offset(offset), count, Epoch(epoch), body)


def log_of(*entries: Entry) -> MemoryLog:
    return MemoryLog(entries)


def witness_of(*committed: Entry, epoch: int = 1) -> Witness:
    """One that saw `committed` become so, on the disks of 1 and 2."""
    witness, log = Witness(), log_of(*committed)
    witness.committed_up_to(Epoch(epoch), log.end_offset, VOTERS, log, {ONE: log, TWO: log})
    for each in committed:
        witness.applied(each)
    return witness


def core_of(log: StoredLog) -> RaftCore:
    return RaftCore(RaftConfig(), ONE, log, None, Random(0), 0)


def two_leaders_of_one_epoch() -> None:
    witness = Witness()
    witness.became_leader(ONE, 1, Epoch(3), log_of())
    witness.became_leader(TWO, 1, Epoch(3), log_of())


def two_lives_of_one_leader_in_one_epoch() -> None:
    witness = Witness()
    witness.became_leader(ONE, 1, Epoch(3), log_of())
    witness.became_leader(ONE, 2, Epoch(3), log_of())


def two_contents_at_one_place() -> None:
    witness = Witness()
    witness.appended(log_of(), (entry(0, 1, b"x"),), None)
    witness.appended(log_of(), (entry(0, 1, b"y"),), None)


def two_pasts_of_one_entry() -> None:
    witness = Witness()
    witness.appended(log_of(), (entry(5, 3),), Epoch(2))
    witness.appended(log_of(), (entry(5, 3),), Epoch(1))


def two_pasts_of_an_entry_seen_first_behind_a_snapshot() -> None:
    witness = Witness()
    witness.appended(log_of(), (entry(5, 3),), None)
    witness.appended(log_of(), (entry(5, 3),), Epoch(2))
    witness.appended(log_of(), (entry(5, 3),), Epoch(1))


def a_leader_with_a_log_too_short() -> None:
    witness = witness_of(entry(0, 1), entry(1, 1))
    witness.became_leader(THREE, 1, Epoch(2), log_of(entry(0, 1)))


def a_leader_with_another_entry() -> None:
    witness = witness_of(entry(0, 1), entry(1, 1))
    witness.became_leader(THREE, 1, Epoch(3), log_of(entry(0, 1), entry(1, 2), entry(2, 2)))


def an_acknowledged_body_that_is_gone() -> None:
    witness_of(entry(0, 1, b"x")).check_acknowledged({b"y": Offset(1)})


def an_acknowledged_body_elsewhere() -> None:
    witness_of(entry(0, 1, b"x"), entry(1, 1, b"y")).check_acknowledged({b"x": Offset(2)})


def two_entries_applied_at_one_offset() -> None:
    witness_of(entry(0, 1, b"x")).applied(entry(0, 1, b"y"))


def applied_before_it_is_committed() -> None:
    witness_of(entry(0, 1)).applies_up_to(NodeId(3), Offset(2))


def a_high_watermark_that_goes_back() -> None:
    check_forward(NodeId(1), Marks(Offset(5), Epoch(1), Offset(0)), Marks(Offset(4), Epoch(1), Offset(0)))


def an_epoch_that_goes_back() -> None:
    check_forward(NodeId(1), Marks(Offset(5), Epoch(2), Offset(0)), Marks(Offset(5), Epoch(1), Offset(0)))


def a_start_that_goes_back() -> None:
    check_forward(NodeId(1), Marks(Offset(5), Epoch(1), Offset(4)), Marks(Offset(5), Epoch(1), Offset(0)))


def a_stored_epoch_that_goes_back() -> None:
    witness = Witness()
    witness.voted(ONE, PersistVote(Epoch(4), None, None))
    witness.voted(ONE, PersistVote(Epoch(3), None, None))


def two_votes_in_one_epoch() -> None:
    witness = Witness()
    witness.voted(ONE, PersistVote(Epoch(4), TWO, None))
    witness.voted(ONE, PersistVote(Epoch(4), THREE, None))


def a_vote_taken_back() -> None:
    witness = Witness()
    witness.voted(ONE, PersistVote(Epoch(4), TWO, None))
    witness.voted(ONE, PersistVote(Epoch(4), None, None))


def two_leaders_stored_for_one_epoch() -> None:
    witness = Witness()
    witness.voted(ONE, PersistVote(Epoch(4), None, NodeId(2)))
    witness.voted(ONE, PersistVote(Epoch(4), None, NodeId(3)))


def a_vote_answered_and_not_stored() -> None:
    request = VoteRequest(TWO, ONE, Epoch(4), LogPosition(Epoch(0), Offset(0)), False)
    Witness().answered_vote(ONE, request, VoteResponse(Epoch(4), None, True), PersistVote(Epoch(4), None, None))


def a_snapshot_of_what_is_not_committed() -> None:
    witness_of(entry(0, 1)).snapshot_covers(SnapshotId(Epoch(1), Offset(2)))


def a_snapshot_that_ends_inside_an_entry() -> None:
    witness_of(entry(0, 1, count=3)).snapshot_covers(SnapshotId(Epoch(1), Offset(2)))


def a_snapshot_by_another_epoch() -> None:
    witness_of(entry(0, 1)).snapshot_covers(SnapshotId(Epoch(2), Offset(1)))


def a_log_that_starts_where_no_snapshot_ends() -> None:
    log = log_of(entry(0, 1), entry(1, 1))
    log.drop_before(Offset(1))
    check_start(log, NodeId(1), [SnapshotId(Epoch(1), Offset(2))])


def a_leader_that_loads_a_snapshot() -> None:
    check_load(NodeId(1), Epoch(4), SnapshotId(Epoch(1), Offset(2)))


def a_high_watermark_on_one_disk_of_three() -> None:
    witness, log = Witness(), log_of(entry(0, 1))
    witness.committed_up_to(Epoch(1), Offset(1), VOTERS, log, {ONE: log, TWO: log_of()})


def a_high_watermark_over_another_entry() -> None:
    witness, log = Witness(), log_of(entry(0, 2))
    witness.committed_up_to(Epoch(2), Offset(1), VOTERS, log, {ONE: log, TWO: log_of(entry(0, 1))})


def a_high_watermark_on_a_disk_that_is_no_voters() -> None:
    witness, log = Witness(), log_of(entry(0, 1))
    witness.committed_up_to(Epoch(1), Offset(1), VOTERS, log, {ONE: log, ReplicaKey(NodeId(2), UUID(int=9)): log})


def an_answer_before_the_high_watermark() -> None:
    witness_of(entry(0, 1)).answered(Offset(2))


def a_report_of_what_is_not_flushed() -> None:
    log = log_of(entry(0, 1))
    log.append([entry(1, 1)])
    request = FetchRequest(ONE, Epoch(1), LogPosition(Epoch(1), Offset(2)), Offset(0), 0, 0)
    Witness().reported(ONE, request, log)


def a_core_that_mistakes_its_log() -> None:
    check_shape(NodeId(1), core_of(StoredLog(end_offset=Offset(2), epochs=((Epoch(1), Offset(0)),))), log_of())


def a_core_that_believes_in_a_flush() -> None:
    log = log_of(entry(0, 1))
    log.durable_end_offset = Offset(0)
    check_shape(NodeId(1), core_of(StoredLog(end_offset=Offset(1), epochs=((Epoch(1), Offset(0)),))), log)


def a_core_that_commits_what_it_has_not() -> None:
    core = core_of(StoredLog())
    core.high_watermark = Offset(1)
    check_shape(NodeId(1), core, log_of())


def a_core_that_counts_other_voters() -> None:
    check_voters(NodeId(1), core_of(StoredLog()), log_of(Entry(Offset(0), 1, Epoch(0), VOTERS)))


@pytest.mark.parametrize(
    ("verdict", "history"),
    [
        ("1 election safety", two_leaders_of_one_epoch),
        ("1 election safety", two_lives_of_one_leader_in_one_epoch),
        ("2 log matching", two_contents_at_one_place),
        ("2 log matching", two_pasts_of_one_entry),
        ("2 log matching", two_pasts_of_an_entry_seen_first_behind_a_snapshot),
        ("3 leader completeness", a_leader_with_a_log_too_short),
        ("3 leader completeness", a_leader_with_another_entry),
        ("3 leader completeness", an_acknowledged_body_that_is_gone),
        ("3 leader completeness", an_acknowledged_body_elsewhere),
        ("4 state machine safety", two_entries_applied_at_one_offset),
        ("4 state machine safety", applied_before_it_is_committed),
        ("5 something goes back", a_high_watermark_that_goes_back),
        ("5 something goes back", an_epoch_that_goes_back),
        ("5 something goes back", a_start_that_goes_back),
        ("5 the epoch of", a_stored_epoch_that_goes_back),
        ("5 .* votes twice in", two_votes_in_one_epoch),
        ("5 .* votes twice in", a_vote_taken_back),
        ("5 .* knows two leaders", two_leaders_stored_for_one_epoch),
        ("5 .* votes twice, or might", a_vote_answered_and_not_stored),
        ("5 .* covers what is not committed", a_snapshot_of_what_is_not_committed),
        ("5 .* ends inside", a_snapshot_that_ends_inside_an_entry),
        ("5 .* ends inside", a_snapshot_by_another_epoch),
        ("5 the log of node", a_log_that_starts_where_no_snapshot_ends),
        ("5 .* loads", a_leader_that_loads_a_snapshot),
        ("6 durability", a_high_watermark_on_one_disk_of_three),
        ("6 durability", a_high_watermark_over_another_entry),
        ("6 durability", a_high_watermark_on_a_disk_that_is_no_voters),
        ("6 durability", an_answer_before_the_high_watermark),
        ("6 durability", a_report_of_what_is_not_flushed),
        ("the core takes the log", a_core_that_mistakes_its_log),
        ("6 the core of", a_core_that_believes_in_a_flush),
        ("5 the high watermark of", a_core_that_commits_what_it_has_not),
        ("the core of .* counts", a_core_that_counts_other_voters),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_witness_sees(verdict: str, history: Callable[[], None]) -> None:
    with pytest.raises(Violation, match=f"^{verdict}"):
        history()


def test_the_witness_has_nothing_against_a_good_history() -> None:
    """Two epochs, an entry of the first left behind on a disk that was cut off, and a snapshot."""
    witness = witness_of(entry(0, 1), entry(1, 1))
    witness.appended(log_of(), (entry(2, 1, b"left behind"),), Epoch(1))
    log = log_of(entry(0, 1), entry(1, 1), entry(2, 2), entry(3, 2, b"y"))
    witness.became_leader(TWO, 1, Epoch(2), log)
    witness.appended(log, (entry(2, 2), entry(3, 2, b"y")), Epoch(1))
    witness.committed_up_to(Epoch(2), Offset(4), VOTERS, log, {TWO: log, THREE: log})
    for each in log.entries:
        witness.applied(each)
    witness.applies_up_to(NodeId(3), Offset(4))
    witness.answered(Offset(4))
    witness.snapshot_covers(SnapshotId(Epoch(2), Offset(3)))
    witness.check_acknowledged({b"y": Offset(4)})
    check_forward(NodeId(3), Marks(Offset(2), Epoch(1), Offset(0)), Marks(Offset(4), Epoch(2), Offset(0)))
    check_load(NodeId(3), None, SnapshotId(Epoch(2), Offset(3)))
