"""The log checker finds every planted anomaly, and nothing in histories of a log that behaves."""

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.checkers.history import (
    End,
    Event,
    HistoryError,
    Operation,
    Outcome,
    Poll,
    Send,
    Tail,
    from_line,
    read_history,
    to_line,
)
from simulation.checkers.log_checker import Anomaly, check_log

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN


def sent(value: int, offset: int | None, at: int = 0, *, process: str = "p", outcome: Outcome = OK) -> Send:
    """A send of `value` (also its sequence) between `at` and `at + 9`."""
    completed = None if outcome is UNKNOWN else at + 9
    return Send(process, "t-0", value, value, at, completed, outcome, offset)


def polled(*records: tuple[int, int], at: int = 1000, session: int = 1, process: str = "c") -> Poll:
    return Poll(process, session, at, at + 9, tuple(("t-0", offset, value) for offset, value in records))


THREE = [sent(1, 0, 10), sent(2, 1, 20), sent(3, 2, 30)]

PLANTED: dict[Anomaly, list[list[Event]]] = {
    Anomaly.LOST: [
        [*THREE, polled((0, 1)), polled((2, 3), at=1010)],
        [*THREE, polled((0, 1), (1, 2)), End("t-0", 0, 2)],
        [*THREE, polled((0, 1), (2, 3)), End("t-0", 0, 3)],
        [*THREE, polled((0, 1), (1, 2), (2, 3)), polled((0, 1), (1, 2), process="last"), End("t-0", 0, 2, "last")],
    ],
    Anomaly.DUPLICATE: [
        [*THREE, polled((0, 1), (1, 2), (2, 3), (3, 2))],
        [*THREE, Poll("c", 1, 50, 60, (("t-1", 7, 2),))],
    ],
    Anomaly.INCONSISTENT_OFFSET: [
        [*THREE, sent(4, 2, 40)],
        [*THREE, polled((0, 1), (1, 2), (2, 3)), sent(4, None, 40, outcome=UNKNOWN), polled((2, 4), process="d")],
    ],
    Anomaly.RETRACTED_END: [
        [*THREE, Tail("c", "t-0", 4, 50, 59), polled((0, 1), (1, 2), (2, 3)), End("t-0", 0, 3)],
        [*THREE, polled((0, 1), (1, 2), (2, 3)), Tail("c", "t-0", 2, 1010, 1019)],
        [*THREE, Tail("c", "t-0", 3, 50, 59), Tail("c", "t-0", 2, 60, 69)],
    ],
    Anomaly.REORDERED: [
        [sent(1, 1, 10), sent(2, 0, 10)],
        [sent(1, None, 10, outcome=UNKNOWN), sent(2, 0, 10), polled((0, 2), (1, 1))],
    ],
    Anomaly.REAL_TIME_ORDER: [
        [sent(1, 5, 10), sent(2, 4, 30, process="q")],
        [sent(1, None, 10, outcome=UNKNOWN), polled((5, 1), at=20), sent(2, 4, 30, process="q")],
    ],
    Anomaly.SKIPPED: [
        [*THREE, polled((0, 1), (2, 3))],
        [*THREE, polled((0, 1)), polled((2, 3), at=1010)],
        [*THREE, polled((0, 1), (2, 3)), polled((0, 1), (1, 2), (2, 3), process="d")],
    ],
    Anomaly.NONMONOTONIC_POLL: [
        [*THREE, polled((0, 1), (1, 2), (2, 3), (1, 2))],
        [*THREE, polled((0, 1)), polled((0, 1), at=1010)],
    ],
    Anomaly.PHANTOM: [[*THREE, polled((0, 1), (1, 2), (2, 3), (3, 99))]],
    Anomaly.ABORTED_READ: [[*THREE, sent(4, None, 40, outcome=FAILED), polled((2, 3), (3, 4))]],
    Anomaly.FROM_THE_FUTURE: [[*THREE, polled((2, 3), (3, 4)), sent(4, 3, 5000)]],
}


@pytest.mark.parametrize("anomaly", Anomaly)
def test_a_planted_anomaly_is_found(anomaly: Anomaly) -> None:
    for history in PLANTED[anomaly]:
        report = check_log(history)
        assert not report.ok
        assert anomaly in [finding.anomaly for finding in report.findings], str(report)


FINE: dict[str, list[Event]] = {
    "everything read": [*THREE, polled((0, 1), (1, 2)), polled((2, 3), at=1010), End("t-0", 0, 3)],
    "not read yet": [*THREE],
    "only the end read": [*THREE, polled((2, 3))],
    "an offset of a marker in between": [sent(1, 0, 10), sent(2, 5, 20), polled((0, 1), (5, 2))],
    "unknown and gone": [*THREE, sent(4, None, 40, outcome=UNKNOWN), polled((0, 1), (1, 2), (2, 3)), End("t-0", 0, 3)],
    "unknown and there": [sent(1, None, 1, outcome=UNKNOWN), polled((0, 1))],
    "failed and gone": [sent(1, None, 1, outcome=FAILED), sent(2, 0, 3), polled((0, 2)), End("t-0", 0, 1)],
    "position set anew": [*THREE, polled((1, 2), (2, 3)), polled((0, 1), (1, 2), at=1010, session=2)],
    "deleted from the start": [*THREE, polled((2, 3)), End("t-0", 2, 3)],
    "concurrent sends in any order": [sent(1, 1, 10), sent(2, 0, 15, process="q")],
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine_passes(name: str) -> None:
    assert str(check_log(FINE[name])).count("\n") == 0


def a_good_history(seed: int, size: int) -> list[Event]:
    """Producers, of whom some time out, and consumers of a log that behaves; the consumers read to the end."""
    random = Random(seed)
    log: list[int] = []
    events: list[Event] = []
    now = 0
    for value in range(size):
        process = f"p{random.randrange(3)}"
        began, now = now, now + random.randrange(1, 10)
        outcome = random.choices([OK, FAILED, UNKNOWN], [8, 1, 1])[0]
        if outcome is OK or (outcome is UNKNOWN and random.random() < 0.5):
            log.append(value)
        offset = len(log) - 1 if outcome is OK else None
        events.append(Send(process, "t-0", value, value, began, None if outcome is UNKNOWN else now, outcome, offset))
    for process in ("a", "b"):
        position = 0
        while position < len(log):
            part = log[position : position + random.randrange(1, 20)]
            records = tuple(("t-0", position + index, value) for index, value in enumerate(part))
            now += 5
            events.append(Poll(process, 1, now, now + 5, records))
            position += len(part)
    return [*events, End("t-0", 0, len(log))]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 120))
def test_a_log_that_behaves_passes(seed: int, size: int) -> None:
    assert check_log(a_good_history(seed, size)).ok


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.data())
def test_a_record_taken_out_doubled_or_exchanged_is_noticed(seed: int, data: st.DataObject) -> None:
    history = a_good_history(seed, 60)
    acknowledged = [event.value for event in history if isinstance(event, Send) and event.outcome is OK]
    victim = data.draw(st.sampled_from(acknowledged))
    other = data.draw(st.sampled_from([value for value in acknowledged if value != victim]))
    kind = data.draw(st.sampled_from(["lost", "doubled", "exchanged"]))
    assert not check_log([_spoil(event, kind, victim, other) for event in history]).ok


def _spoil(event: Event, kind: str, victim: object, other: object) -> Event:
    if not isinstance(event, Poll):
        return event
    change = {"lost": {}, "doubled": {other: victim}, "exchanged": {other: victim, victim: other}}[kind]
    records = tuple(
        (partition, offset, change.get(value, value))
        for partition, offset, value in event.records
        if kind != "lost" or value != victim
    )
    return Poll(event.process, event.session, event.invoked_us, event.completed_us, records)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), min_size=1, max_size=8), st.randoms())
def test_real_time_order_agrees_with_comparing_every_pair(times: list[tuple[int, int]], random: Random) -> None:
    offsets = list(range(len(times)))
    random.shuffle(offsets)
    sends = [
        Send(f"p{index}", "t-0", index, 0, began, began + took, OK, offset)
        for index, ((began, took), offset) in enumerate(zip(times, offsets, strict=True))
    ]
    pairs = any(
        one.completed_us < other.invoked_us and one.offset > other.offset  # type: ignore[operator]
        for one in sends
        for other in sends
    )
    found = any(finding.anomaly is Anomaly.REAL_TIME_ORDER for finding in check_log(sends).findings)
    assert found == pairs


def test_the_format_keeps_everything(tmp_path: object) -> None:
    events: list[Event] = [
        *a_good_history(1, 20),
        Operation("p", "k", "compare_and_set", [None, 3], True, 1, 2, OK),
        Operation("p", "k", "read", None, None, 1, None, UNKNOWN),
    ]
    lines = [to_line(event) for event in events]
    assert list(read_history([*lines[:3], "", *lines[3:]])) == events
    assert json.loads(lines[0])["type"] == "send"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        '{"type": "nothing"}',
        '{"type": "end", "partition": "a"}',
        '{"type": "send", "process": "p", "partition": "t", "value": 1, "sequence": 1, "invoked_us": 1,'
        ' "completed_us": 2, "outcome": "ok"}',
        '{"type": "poll", "process": "p", "session": 1, "invoked_us": 1, "completed_us": 2, "records": [1]}',
    ],
)
def test_a_line_that_is_no_event_is_refused_by_name(line: str) -> None:
    with pytest.raises(HistoryError):
        from_line(line)
    if line:
        with pytest.raises(HistoryError, match="line 2"):
            list(read_history(["", line]))


def test_a_large_history_is_judged_in_time_that_grows_gently() -> None:
    assert check_log(a_good_history(5, 20_000)).ok
