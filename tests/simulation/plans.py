"""Plans of faults for Hypothesis to draw, and to shrink to the few steps that matter."""

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from simulation.fault_kinds import BY_FAULT
from simulation.faults import DURATIONS_MS, USUAL, Fault, Plan, Step

STEPS_MAX = 6


def plans(hosts: Sequence[str], length_ms: int, faults: Iterable[Fault] = USUAL) -> st.SearchStrategy[Plan]:
    """Up to `STEPS_MAX` faults in the order of their times."""

    def sorted_by_time(steps: list[Step]) -> Plan:
        return tuple(sorted(steps, key=lambda step: step.at_ms))

    kinds = st.sampled_from(list(faults))
    steps = kinds.flatmap(lambda fault: _steps(hosts, length_ms, fault))
    return st.lists(steps, max_size=STEPS_MAX).map(sorted_by_time)


def _steps(hosts: Sequence[str], length_ms: int, fault: Fault) -> st.SearchStrategy[Step]:
    pairs = [(target, other) for target in hosts for other in hosts if target != other]
    return st.builds(
        lambda at_ms, pair, duration_ms, amount: Step(at_ms, fault, pair[0], duration_ms, pair[1], amount),
        st.integers(0, length_ms - 1),
        st.sampled_from(pairs),
        st.sampled_from(DURATIONS_MS),
        st.sampled_from(list(BY_FAULT[fault].amount.values)),
    )
