"""The linearizability checker agrees with a judge that tries every order, and finds what is planted."""

from collections.abc import Hashable, Iterator
from itertools import combinations, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.checkers.history import Json, Operation, Outcome
from simulation.checkers.linearizability import Model, check_key, check_linearizable, worst
from simulation.checkers.models import AppendOnlyLog, Register, RetriedTopic, Topic
from simulation.verdicts import Verdict

OK, FAILED, UNKNOWN = Outcome.OK, Outcome.FAILED, Outcome.UNKNOWN


def op(
    function: str, argument: Json, result: Json, began: int, ended: int | None, outcome: Outcome = OK, key: str = "k"
) -> Operation:
    return Operation("p", key, function, argument, result, began, ended, UNKNOWN if ended is None else outcome)


def brute_force(history: list[Operation], model: Model) -> bool:
    """Try every subset of the unknown operations and every order that respects time."""
    certain = [operation for operation in history if operation.outcome is OK]
    unknown = [operation for operation in history if operation.outcome is UNKNOWN]
    return any(
        _possible(order, model)
        for count in range(len(unknown) + 1)
        for chosen in combinations(unknown, count)
        for order in permutations([*certain, *chosen])
    )


def _possible(order: tuple[Operation, ...], model: Model) -> bool:
    state: Hashable = model.initial
    for index, operation in enumerate(order):
        for later in order[index + 1 :]:
            if later.completed_us is not None and later.outcome is OK and later.completed_us < operation.invoked_us:
                return False
        possible, state = model.apply(state, operation)
        if not possible:
            return False
    return True


Kind = tuple[str, Json, Json, Outcome]  # function, argument, result, outcome
KINDS: list[Kind] = [
    ("write", 1, None, OK),
    ("write", 2, None, OK),
    ("read", None, None, OK),
    ("read", None, 1, OK),
    ("read", None, 2, OK),
    ("compare_and_set", [1, 2], True, OK),
    ("compare_and_set", [1, 2], False, OK),
    ("write", 1, None, UNKNOWN),
    ("compare_and_set", [None, 2], None, UNKNOWN),
]


def intervals(count: int) -> list[list[tuple[int, int]]]:
    """Every way in which `count` operations can overlap, begun in order."""
    found = []

    def grow(order: list[int], begun: int, open_: list[int]) -> None:
        if len(order) == 2 * count:
            places: dict[int, list[int]] = {}
            for time, number in enumerate(order):
                places.setdefault(number, []).append(time)
            found.append([(places[number][0], places[number][1]) for number in range(count)])
            return
        if begun < count:
            grow([*order, begun], begun + 1, [*open_, begun])
        for number in open_:
            grow([*order, number], begun, [other for other in open_ if other != number])

    grow([], 0, [])
    return found


TOPIC_KINDS: list[Kind] = [
    ("create", 1, "created", OK),
    ("create", 2, "exists", OK),
    ("delete", None, "deleted", OK),
    ("delete", None, "unknown", OK),
    ("describe", None, None, OK),
    ("describe", None, 1, OK),
    ("create", 2, None, UNKNOWN),
    ("delete", None, None, UNKNOWN),
]
RETRIED_KINDS: list[Kind] = [
    *TOPIC_KINDS[4:],
    ("create", 1, "created?", OK),
    ("delete", None, "deleted?", OK),
    ("describe", None, 2, OK),
]
LOG_KINDS: list[Kind] = [
    ("append", 1, 0, OK),
    ("append", 2, 0, OK),
    ("append", 2, 1, OK),
    ("append", 1, None, UNKNOWN),
    ("read", 0, [], OK),
    ("read", 0, [1], OK),
    ("read", 0, [2, 1], OK),
    ("read", 1, [2], OK),
]
SMALL: dict[str, tuple[Model, list[Kind]]] = {
    "register": (Register(), KINDS),
    "topic": (Topic(), TOPIC_KINDS),
    "retried topic": (RetriedTopic(), RETRIED_KINDS),
    "log": (AppendOnlyLog(), LOG_KINDS),
}


def all_histories(all_kinds: list[Kind], count: int) -> Iterator[list[Operation]]:
    shapes = intervals(count)
    for kinds in product(all_kinds, repeat=count):
        for shape in shapes:
            yield [
                op(function, argument, result, began, ended if outcome is OK else None)
                for (function, argument, result, outcome), (began, ended) in zip(kinds, shape, strict=True)
            ]


@pytest.mark.parametrize("name", SMALL)
def test_it_agrees_with_the_brute_force_judge_on_all_small_histories(name: str) -> None:
    model, kinds = SMALL[name]
    verdicts = {True: 0, False: 0}
    for count in (1, 2, 3):
        for history in all_histories(kinds, count):
            expected = brute_force(history, model)
            assert check_key("k", history, model).verdict is (Verdict.OK if expected else Verdict.INVALID), history
            verdicts[expected] += 1
    assert min(verdicts.values()) > 300


OPERATIONS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(OPERATIONS)
def test_it_agrees_on_larger_ones(drawn: list[tuple[Kind, int, int]]) -> None:
    history = [
        op(function, argument, result, began, began + took if outcome is OK else None)
        for (function, argument, result, outcome), began, took in drawn
    ]
    expected = brute_force(history, Register())
    assert (check_key("k", history, Register()).verdict is Verdict.OK) == expected


PLANTED: dict[str, tuple[Model, list[Operation]]] = {
    "a stale read": (Register(), [op("write", 1, None, 0, 1), op("write", 2, None, 2, 3), op("read", None, 1, 4, 5)]),
    "a read from the future": (Register(), [op("read", None, 1, 0, 1), op("write", 1, None, 2, 3)]),
    "a lost update": (
        Register(),
        [
            op("write", 0, None, 0, 1),
            op("compare_and_set", [0, 1], True, 2, 5),
            op("compare_and_set", [0, 2], True, 3, 6),
        ],
    ),
    "a read of what failed": (Register(), [op("write", 1, None, 0, 1, FAILED), op("read", None, 1, 2, 3)]),
    "reads that flicker": (
        Register(),
        [op("write", 1, None, 0, None), op("read", None, 1, 1, 2), op("read", None, None, 3, 4)],
    ),
    "created twice": (Topic(), [op("create", 3, "created", 0, 1), op("create", 3, "created", 2, 3)]),
    "created and not there": (Topic(), [op("create", 3, "created", 0, 1), op("describe", None, None, 2, 3)]),
    "deleted and there": (
        Topic(),
        [op("create", 3, "created", 0, 1), op("delete", None, "deleted", 2, 3), op("describe", None, 3, 4, 5)],
    ),
    "there for one who tried again, then gone": (
        RetriedTopic(),
        [op("create", 3, None, 0, None), op("create", 3, "created?", 0, 1), op("describe", None, None, 2, 3)],
    ),
    "refused at the first attempt for nothing": (RetriedTopic(), [op("create", 3, "exists", 0, 1)]),
    "an offset given twice": (AppendOnlyLog(), [op("append", 1, 0, 0, 5), op("append", 2, 0, 1, 6)]),
    "a record gone": (AppendOnlyLog(), [op("append", 1, 0, 0, 1), op("read", 0, [], 2, 3)]),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_anomalies_are_found_and_shown(name: str) -> None:
    model, history = PLANTED[name]
    report = check_key("k", history, model)
    assert report.verdict is Verdict.INVALID
    assert report.stuck and "stuck" in str(report)


FINE: dict[str, tuple[Model, list[Operation]]] = {
    "an unknown write seen late": (
        Register(),
        [op("write", 1, None, 0, None), op("read", None, None, 1, 2), op("read", None, 1, 3, 4)],
    ),
    "an unknown write never seen": (Register(), [op("write", 1, None, 0, None), op("read", None, None, 5, 6)]),
    "concurrent writes": (
        Register(),
        [op("write", 1, None, 0, 9), op("write", 2, None, 0, 9), op("read", None, 1, 10, 11)],
    ),
    "an unknown creation": (
        Topic(),
        [op("create", 3, None, 0, None), op("create", 3, "exists", 5, 6), op("describe", None, 3, 7, 8)],
    ),
    "refused after an attempt that got lost": (
        RetriedTopic(),
        [
            *(op("create", 3, None, 0, None), op("create", 3, "exists", 0, 1), op("describe", None, 3, 2, 3)),
            *(op("delete", None, None, 4, None), op("delete", None, "unknown", 4, 5), op("describe", None, None, 6, 7)),
        ],
    ),
    "taken for done after an attempt that got lost": (
        RetriedTopic(),
        [op("create", 2, "created", 0, 1), op("create", 3, "created?", 2, 3), op("describe", None, 2, 4, 5)],
    ),
    "appends": (
        AppendOnlyLog(),
        [op("append", 1, 1, 0, 5), op("append", 2, 0, 1, 6), op("read", 1, [1], 7, 8), op("append", 3, None, 0, None)],
    ),
}


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine_passes(name: str) -> None:
    model, history = FINE[name]
    assert check_key("k", history, model).verdict is Verdict.OK


def test_keys_are_judged_apart() -> None:
    history = [op("write", 1, None, 0, 1, key="a"), op("read", None, None, 2, 3, key="b")]
    reports = check_linearizable([*history, op("read", None, 2, 4, 5, key="a")], Register())
    assert [(report.key, report.verdict) for report in reports] == [("a", Verdict.INVALID), ("b", Verdict.OK)]
    assert worst(reports) is Verdict.INVALID


def test_giving_up_is_unknown_and_never_ok() -> None:
    writes = [op("write", number, None, 0, 100) for number in range(20)]
    reads = [op("read", None, number, 101 + number, 101 + number) for number in (1, 2)]
    report = check_key("k", [*writes, *reads], Register(), steps_max=1000)
    assert (report.verdict, report.steps) == (Verdict.UNKNOWN, 1001)
    assert worst([report]) is Verdict.UNKNOWN


def test_a_long_history_with_little_overlap_is_quick() -> None:
    history = []
    for number in range(2000):
        history += [op("write", number, None, number * 10, number * 10 + 12)]
        history += [op("read", None, number, number * 10 + 4, number * 10 + 9)]
    report = check_key("k", history, Register())
    assert report.verdict is Verdict.OK and report.steps < 20_000
