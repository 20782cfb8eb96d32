"""What one part costs, beside the least that moves the same bytes: taken by turns, told a line each."""

import statistics
import time
from collections.abc import Callable, Sequence

RUNS = 5

Costs = tuple[float, float]
"""Medians of one run in microseconds: ours, bare."""


def in_turn(ours: Callable[[], object], bare: Callable[[], object], times: int) -> Costs:
    """One run: so many calls of each, one after the other."""
    costs: tuple[list[float], list[float]] = ([], [])
    for _ in range(times):
        began = time.perf_counter()
        bare()
        between = time.perf_counter()
        ours()
        costs[0].append(time.perf_counter() - between)
        costs[1].append(between - began)
    return statistics.median(costs[0]) * 1e6, statistics.median(costs[1]) * 1e6


def report(name: str, runs: Sequence[Costs], size_bytes: int = 0) -> None:
    """Medians of runs; the speed is that of `size_bytes` in each call of ours."""
    ours = statistics.median(run[0] for run in runs)
    bare = statistics.median(run[1] for run in runs)
    ratio = statistics.median(run[0] / run[1] for run in runs)
    speed = f"{size_bytes / ours:8.0f} MB/s" if size_bytes else ""
    print(f"{name:<44}{ours:12.1f} µs {bare:12.1f} µs bare {ratio:7.2f} x {speed}", flush=True)


def alone_us(work: Callable[[], object], times: int) -> float:
    """The median of so many calls, in microseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def report_alone(name: str, runs_us: Sequence[float], size_bytes: int = 0) -> None:
    """Medians of runs in microseconds, where there is nothing bare to compare with."""
    median_us = statistics.median(runs_us)
    speed = f"{size_bytes / median_us:8.0f} MB/s" if size_bytes else ""
    print(f"{name:<60}{median_us:12.1f} µs {1e6 / median_us:12,.0f} a second {speed}", flush=True)
