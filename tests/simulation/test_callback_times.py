"""Programs that are slow in the callbacks of a rebalance: how slow, and that members are thrown out meanwhile."""

from simulation.callback_times import RANGES_S, CallbackTimes
from simulation.group_slot import HEARTBEAT_MS, MAX_POLL_INTERVAL_MS
from simulation.scenario import run_scenario

UNTIL_US = 14_000_000
NAMES = [f"g1-1-{number}" for number in range(1, 41)]


def drawn(seed: int, name: str, now_us: int = 0) -> list[float]:
    times = CallbackTimes(seed, name, UNTIL_US)
    return [times.draw_s(now_us) for _ in range(50)]


def test_some_programs_are_slow_and_the_others_never_wait() -> None:
    slow = [name for name in NAMES if any(drawn(4, name))]
    assert 10 < len(slow) < 30
    assert all(min(drawn(4, name)) > 0 for name in slow)


def test_it_takes_from_some_milliseconds_up_to_more_than_the_group_waits() -> None:
    found = [wait_s for name in NAMES for wait_s in drawn(4, name) if wait_s]
    counts = [sum(first <= wait_s <= last for wait_s in found) for first, last in RANGES_S]
    assert sum(counts) == len(found) and counts == sorted(counts, reverse=True) and counts[-1] > 0
    assert RANGES_S[2][0] == HEARTBEAT_MS / 1_000 and RANGES_S[3][0] > MAX_POLL_INTERVAL_MS / 1_000


def test_nobody_is_slow_in_the_end_or_where_the_seed_is_odd() -> None:
    assert not any(wait_s for name in NAMES for wait_s in drawn(4, name, UNTIL_US) + drawn(5, name))


def test_members_are_thrown_out_in_their_callbacks_and_all_is_well() -> None:
    """No fault beside it, so that nothing else throws them out."""
    reports = [run_scenario("groups", seed, ()) for seed in (10, 12)]
    assert all(report.ok for report in reports), "\n".join(map(str, reports))
    met = [name for report in reports for name in report.situations]
    assert "callback-outlasts-heartbeat" in met and "thrown-out-in-on-assign" in met
