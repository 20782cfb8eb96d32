"""Timers against a dumb twin."""

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.coordinator.groups.timers import Timer, TimerKind, Timers

_KEYS = [Timer(TimerKind.SESSION, "g", str(index)) for index in range(5)]
_STEPS = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(_KEYS), st.integers(0, 100)),
    st.tuples(st.just("cancel"), st.sampled_from(_KEYS), st.just(0)),
    st.tuples(st.just("pop"), st.just(_KEYS[0]), st.integers(0, 100)),
)


@settings(max_examples=200, deadline=None)
@given(steps=st.lists(_STEPS, max_size=60))
def test_timers_are_a_dictionary_of_deadlines(steps: list[tuple[str, Timer, int]]) -> None:
    timers, twin = Timers(), dict[Timer, int]()
    for action, key, time_ms in steps:
        if action == "set":
            timers.set(key, time_ms)
            twin[key] = time_ms
        elif action == "cancel":
            timers.cancel(key)
            twin.pop(key, None)
        else:
            due = timers.pop_due(time_ms)
            if due is None:
                assert all(due_ms > time_ms for due_ms in twin.values())
            else:
                assert twin.pop(due) <= time_ms and all(due_ms >= 0 for due_ms in twin.values())
        assert timers.next_ms() == min(twin.values(), default=None)


def test_moving_and_cancelling_leave_nothing_behind() -> None:
    timers = Timers()
    for round_number in range(20_000):
        key = Timer(TimerKind.SESSION, "g", str(round_number))
        timers.set(key, 1_000_000 - round_number)
        timers.set(key, 500_000 - round_number)
        timers.cancel(key)
    assert len(timers._places) <= 1_001 and timers.next_ms() is None
