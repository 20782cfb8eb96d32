"""The log checker agrees with a judge that tries every log, on all small histories of one partition.

The dumb judge asks of each history whether there is any log that explains it: each send that may have happened gets
each offset, or none, and what is told is held against that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations, product

from simulation.checkers.history import End, Event, Outcome, Poll, Send, Value
from simulation.checkers.log_checker import check_log

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN
OFFSETS = (0, 1, 2)
NEVER = 1 << 40


def some_log_explains(history: list[Event]) -> bool:
    """Whether any log does."""
    sends = [event for event in history if isinstance(event, Send)]
    choices: list[tuple[int | None, ...]] = []
    for send in sends:
        if send.outcome is OK:
            choices.append((send.offset,))
        else:
            choices.append((None,) if send.outcome is FAILED else (None, *OFFSETS))
    for offsets in product(*choices):
        taken = [offset for offset in offsets if offset is not None]
        if len({*taken}) == len(taken):
            log = {offset: send.value for offset, send in zip(offsets, sends, strict=True) if offset is not None}
            if _explains(log, sends, history):
                return True
    return False


def _explains(log: Mapping[int, Value], sends: list[Send], history: list[Event]) -> bool:
    polls = [event for event in history if isinstance(event, Poll)]
    read_us: dict[Value, int] = {}
    positions: dict[tuple[str, int], int] = {}
    for poll in polls:
        for _, offset, value in poll.records:
            if log.get(offset) != value:
                return False
            read_us[value] = min(read_us.get(value, NEVER), poll.completed_us)
            before = positions.get((poll.process, poll.session))
            if before is not None and offset != min((each for each in log if each > before), default=None):
                return False
            positions[poll.process, poll.session] = offset
    places = {value: offset for offset, value in log.items()}
    there = [send for send in sends if send.value in places]
    for send in there:
        if read_us.get(send.value, NEVER) < send.invoked_us:
            return False
    for one in there:
        for other in there:
            answered_us = one.completed_us if one.completed_us is not None and one.outcome is OK else NEVER
            done_us = min(answered_us, read_us.get(one.value, NEVER))
            later = done_us < other.invoked_us or (one.process == other.process and one.sequence < other.sequence)
            if later and places[one.value] > places[other.value]:
                return False
    for end in history:
        if isinstance(end, End):
            for send in there:
                if send.outcome is OK and places[send.value] >= end.start_offset and send.value not in read_us:
                    return False
    return True


def sends_of_two() -> Iterator[list[Send]]:
    """One after the other or at once, by one producer or two, with every outcome."""
    fates = [(OK, 0), (OK, 1), (FAILED, None), (UNKNOWN, None)]
    for (one, other), began, name in product(product(fates, fates), (5, 20), ("p", "q")):
        first = Send("p", "t-0", "a", 1, 0, 10, one[0], one[1])
        second = Send(name, "t-0", "b", 2, began, began + 10, other[0], other[1])
        yield [send if send.outcome is not UNKNOWN else replace(send, completed_us=None) for send in (first, second)]


def polls_of_two() -> Iterator[list[Poll]]:
    """Up to two records, before the second send or after both, in one poll or two, of one session or two."""
    records = [("t-0", offset, value) for offset in (0, 1, 2) for value in ("a", "b")]
    yield []
    for at in (12, 100):
        for record in records:
            yield [Poll("c", 1, at, at + 1, (record,))]
        for pair in product(records, repeat=2):
            yield [Poll("c", 1, at, at + 1, pair)]
            for process, session in (("c", 1), ("c", 2), ("d", 1)):
                yield [Poll("c", 1, at, at + 1, pair[:1]), Poll(process, session, at + 2, at + 3, pair[1:])]


def test_it_agrees_with_the_judge_that_tries_every_log() -> None:
    verdicts = {True: 0, False: 0}
    ends: list[list[Event]] = [[], [End("t-0", 0, 2)], [End("t-0", 1, 2)]]
    for sends, polls, end in product(sends_of_two(), polls_of_two(), ends):
        history: list[Event] = [*sends, *polls, *end]
        report = check_log(history)
        expected = some_log_explains(history)
        assert report.ok == expected, f"{report}\n{history}"
        verdicts[expected] += 1
    assert min(verdicts.values()) > 1_000


def test_three_sends_are_explained_alike() -> None:
    """Order of appends alone: three producers, all overlaps of their calls, all offsets."""
    times = [*combinations((0, 10, 20, 30), 2)]
    for spans in product(times, repeat=3):
        for offsets in product(OFFSETS, repeat=3):
            history: list[Event] = [
                Send(f"p{number}", "t-0", number, 1, began, ended, OK, offset)
                for number, ((began, ended), offset) in enumerate(zip(spans, offsets, strict=True))
            ]
            assert check_log(history).ok == some_log_explains(history), history
