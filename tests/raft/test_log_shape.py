"""The log's shape against a dumb twin that keeps every entry, and the leader's arithmetic against counting."""

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from raft.events import Entry, Epoch, LogPosition, NodeId, Offset, ReplicaKey, SnapshotId, Voter, VoterSet
from raft.leader import is_single_change
from raft.log_shape import LogShape, StoredLog
from raft.role import agreed_offset
from raft.stored import recover
from tests.raft.memory_log import MemoryLog


def voter(node_id: int, disk: int = 0, host: str = "n") -> Voter:
    return Voter(ReplicaKey(NodeId(node_id), UUID(int=node_id + 100 * disk)), host, 9093)


def voters(*node_ids: int) -> VoterSet:
    return VoterSet(tuple(voter(node_id) for node_id in node_ids))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 4), st.booleans()),
        st.tuples(st.just("truncate"), st.integers(0, 30)),
        st.tuples(st.just("drop"), st.integers(0, 30)),
        st.tuples(st.just("persist"), st.integers(0, 30)),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None, database=None)
@given(STEPS)
def test_the_shape_is_that_of_the_log(steps: list[tuple[object, ...]]) -> None:
    first = Entry(Offset(0), 1, Epoch(0), voters(1))
    log, shape = MemoryLog([first]), LogShape(StoredLog())
    shape.append(first)
    shape.persisted(Offset(1))
    epoch = 0
    for kind, *values in steps:
        ends = [entry.end_offset for entry in log.entries]
        if kind == "append":
            by, count, is_voters = values
            assert isinstance(by, int) and isinstance(count, int)
            epoch += by
            body = voters(1, epoch + 2) if is_voters else b""
            entry = Entry(log.end_offset, 1 if is_voters else count, Epoch(epoch), body)
            log.append([entry])
            shape.append(entry)
        elif kind == "truncate" and ends:
            end_offset = ends[int(str(values[0])) % len(ends)]
            log.truncate(end_offset)
            shape.truncate(end_offset)
            epoch = shape.last.epoch
        elif kind == "persist" and ends:
            shape.persisted(ends[int(str(values[0])) % len(ends)])
        elif kind == "drop":
            durable = [end for end in ends if end <= shape.durable_offset]
            if durable:
                start = durable[int(str(values[0])) % len(durable)]
                snapshot = SnapshotId(shape.position_at(start).epoch, start)
                log.keep_snapshot(snapshot, log.voters_at(start) or voters(1), b"")
                shape.snapshot = snapshot
                log.drop_before(start)
                shape.drop_before(start)
        elif kind == "restart":
            log.durable_end_offset = log.end_offset
            shape = LogShape(recover(log))  # type: ignore[arg-type]  # nothing is flushed here
        check(shape, log)


def check(shape: LogShape, log: MemoryLog) -> None:
    assert (shape.start_offset, shape.end_offset) == (log.start_offset, log.end_offset)
    assert shape.start_offset <= shape.durable_offset <= shape.end_offset
    assert shape.voters == log.voters_at(log.end_offset)
    for entry in log.entries:
        assert shape.epoch_at(entry.offset) == entry.epoch
        assert shape.position_at(entry.end_offset) == LogPosition(entry.epoch, entry.end_offset)
    for epoch in range(12):
        below = [entry for entry in log.entries if entry.epoch <= epoch]
        found = shape.end_of_epoch(Epoch(epoch))
        assert found == (LogPosition(below[-1].epoch, below[-1].end_offset) if below else shape.before)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=7))
def test_a_majority_has_reached_the_agreed_offset_and_none_higher(reached: list[int]) -> None:
    agreed = agreed_offset([Offset(each) for each in reached])
    assert sum(each >= agreed for each in reached) > len(reached) / 2
    assert sum(each > agreed for each in reached) <= len(reached) / 2


def test_a_single_change() -> None:
    three = voters(1, 2, 3)
    assert is_single_change(three, voters(1, 2))
    assert is_single_change(three, voters(1, 2, 3, 4))
    assert is_single_change(three, VoterSet((voter(1), voter(2), voter(3, host="moved"))))
    assert not is_single_change(three, three)
    assert not is_single_change(three, voters(1))
    assert not is_single_change(three, voters(1, 2, 4))
    assert not is_single_change(three, VoterSet((voter(1), voter(2), voter(3, disk=1))))
    assert not is_single_change(three, VoterSet((*three.voters, voter(3, disk=1))))
    assert not is_single_change(three, VoterSet(three.voters[::-1]))
    assert not is_single_change(voters(1), VoterSet(()))


def test_recovery_mends_a_log_that_does_not_reach_its_snapshot() -> None:
    """A crash in the middle of loading a snapshot, and a snapshot of entries that only others had flushed."""
    snapshot = SnapshotId(Epoch(2), Offset(9))
    for entries in ([Entry(Offset(0), 4, Epoch(1), b"")], [Entry(Offset(0), 9, Epoch(1), b"")]):
        log = MemoryLog(entries)
        log.keep_snapshot(snapshot, voters(1, 2), b"")
        stored = recover(log)  # type: ignore[arg-type]  # nothing is flushed here
        assert (stored.start_offset, stored.end_offset, stored.snapshot) == (9, 9, snapshot)
        assert stored.voter_sets == ((9, voters(1, 2)),)
    whole = MemoryLog([Entry(Offset(0), 9, Epoch(2), b""), Entry(Offset(9), 1, Epoch(3), voters(1))])
    whole.keep_snapshot(snapshot, voters(1, 2), b"")
    stored = recover(whole)  # type: ignore[arg-type]  # nothing is flushed here
    assert (stored.start_offset, stored.end_offset) == (0, 10)
    assert stored.voter_sets == ((9, voters(1, 2)), (10, voters(1)))
