"""Runs a scenario by its seed.

    python -m simulation.run --scenario NAME --seed N [--plan JSON] [--trace] [--seeds COUNT]

Prints what happened and exits with 1 if it failed, with the command that replays it. `--trace` prints the whole trace
first, one event a line; `--seeds` runs that many seeds from N on and stops at the first that fails; `--hash` prints
nothing but the trace hash.
"""

import argparse
import sys

from simulation.faults import plan_from_json
from simulation.scenario import SCENARIOS, RunReport, run_scenario


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulation.run", description="Run a simulation by its seed.")
    parser.add_argument("--scenario", required=True, help=f"one of {', '.join(SCENARIOS)}, or module:ATTRIBUTE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--plan", help="the faults, as JSON; by default they follow from the seed")
    parser.add_argument("--trace", action="store_true", help="print every event")
    parser.add_argument("--hash", action="store_true", help="print nothing but the trace hash")
    options = parser.parse_args(arguments)
    plan = None if options.plan is None else plan_from_json(options.plan)
    for seed in range(options.seed, options.seed + options.seeds):
        report = run_scenario(options.scenario, seed, plan, keep_trace=options.trace)
        _print(report, options.trace, options.hash)
        if not report.ok:
            return 1
    return 0


def _print(report: RunReport, trace: bool, only_hash: bool) -> None:
    if only_hash:
        print(report.trace_hash)
        return
    if trace:
        print("\n".join(report.trace))
    print(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
