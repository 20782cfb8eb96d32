"""Makes a failing run smaller: fewer faults, then less time, fewer clients and operations, as long as it fails alike.

Two runs fail alike when the same kind of error ends them. Steps of the plan are left out in halves, quarters and so on
(delta debugging: Zeller and Hildebrandt, 2002). Every candidate is a run of its own from its seed, so what is left
needs no trust: it fails.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from simulation.plan import Plan, Step
from simulation.scenario import RunReport
from simulation.simulate.options import PREFIX, Options, parse_options

Run = Callable[[str, int, Plan], RunReport]
MINUTES_MIN = 0.05
RATE_MIN = 1.0
AFTER_MS = 5_000  # of a run that is cut where it failed


def failure_kind(report: RunReport) -> str:
    """What ended a run: `Refuted`, `Violated`, `NodeFailed` and so on; empty where it passed."""
    return report.error.partition(":")[0]


def shrink(report: RunReport, run: Run, may_go_on: Callable[[], bool]) -> RunReport:
    """The smallest run found that fails as `report` does; at least that one. Asks before every run."""
    shrinker = _Shrinker(report, run, may_go_on)
    before: tuple[str, Plan] | None = None
    while before != (shrinker.smallest.scenario, shrinker.smallest.plan) and may_go_on():
        before = (shrinker.smallest.scenario, shrinker.smallest.plan)
        shrinker.fewer_faults()
        shrinker.fewer_operations()
        shrinker.shorter_faults()
    return shrinker.smallest


class _Shrinker:
    def __init__(self, report: RunReport, run: Run, may_go_on: Callable[[], bool]) -> None:
        self.smallest = report
        self._kind = failure_kind(report)
        self._run = run
        self._may_go_on = may_go_on
        self._tried: set[tuple[str, Plan]] = {(report.scenario, report.plan)}

    def fewer_faults(self) -> None:
        """Leave out parts of the plan, the larger ones first."""
        parts = 2
        while len(self.smallest.plan) and self._may_go_on():
            plan = self.smallest.plan
            size = max(1, len(plan) // parts)
            if any(self._fails(plan=plan[:start] + plan[start + size :]) for start in range(0, len(plan), size)):
                parts = max(2, parts - 1)
            elif size == 1:
                return
            else:
                parts = min(2 * parts, len(plan))

    def fewer_operations(self) -> None:
        """Of a whole cluster: end sooner, and leave out clients."""
        if self.smallest.scenario.startswith(PREFIX):
            while self._may_go_on() and any(self._fails_with(options) for options in self._smaller()):
                pass

    def shorter_faults(self) -> None:
        for index in range(len(self.smallest.plan)):
            while self._may_go_on():
                plan = self.smallest.plan
                shorter = replace(plan[index], duration_ms=plan[index].duration_ms // 4)
                if shorter.duration_ms < 50 or not self._fails(plan=(*plan[:index], shorter, *plan[index + 1 :])):
                    break

    def _smaller(self) -> Iterator[Options]:
        options = parse_options(self.smallest.scenario)
        failed_minutes = (self.smallest.virtual_ms + AFTER_MS) / 60_000
        for minutes in (min(failed_minutes, options.minutes), options.minutes / 2):
            if MINUTES_MIN <= minutes < options.minutes * 0.9:
                yield replace(options, minutes=round(minutes, 2))
        if len(options.workloads) > 1:
            for name in options.workloads:
                rest = tuple(other for other in options.workloads if other != name)
                yield replace(options, workloads=rest, rate=options.rate * len(rest) / len(options.workloads))
        if options.rate / 2 >= RATE_MIN:
            yield replace(options, rate=options.rate / 2)

    def _fails_with(self, options: Options) -> bool:
        plan = tuple(step for step in self.smallest.plan if step.at_ms < options.length_ms)
        return self._fails(str(options), plan)

    def _fails(self, scenario: str = "", plan: tuple[Step, ...] = ()) -> bool:
        scenario = scenario or self.smallest.scenario
        if (scenario, plan) in self._tried or not self._may_go_on():
            return False
        self._tried.add((scenario, plan))
        report = self._run(scenario, self.smallest.seed, plan)
        fails = failure_kind(report) == self._kind
        if fails:
            self.smallest = report
        return fails
