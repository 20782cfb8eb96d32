"""Many rounds of faults against real processes: `python -m tests.cluster.campaign --rounds 50`.

Each cluster lives for `--rounds-per-cluster` rounds under load and is then judged and thrown away. The seed says who is
hurt, how and for how long, not what the machine makes of it: the same seed hurts the same nodes in the same order.
Exit status 1, the seed and the ends of the nodes' logs where anything was lost, repeated or swapped, or hangs.
"""

import argparse
import sys
import time
from collections import defaultdict
from random import SystemRandom

from kraftpy.testing import ClusterError
from tests.cluster.chaos import Fault, Outcome, play_all, rounds


def campaign(seed: int, count: int, per_cluster: int, faults: list[Fault]) -> int:
    began_s = time.monotonic()
    steps = list(rounds(seed, count, faults))
    outcomes: dict[Fault, list[Outcome]] = defaultdict(list)
    records = 0
    for first in range(0, count, per_cluster):
        part = steps[first : first + per_cluster]
        try:
            came, acknowledged = play_all(seed, part, first + 1)
        except (AssertionError, ClusterError) as error:
            print(f"\nseed {seed}, rounds from {first + 1}: {error}", file=sys.stderr)
            return 1
        records += acknowledged
        for step, outcome in zip(part, came, strict=True):
            outcomes[step.fault].append(outcome)
    print(
        f"seed {seed}: {count} rounds in {time.monotonic() - began_s:.0f} s, {records} records acknowledged and read;"
    )
    print("none lost, repeated, out of order or given up; the replicas' files are equal")
    print(_table(outcomes))
    return 0


def _table(outcomes: dict[Fault, list[Outcome]]) -> str:
    rows = ["| fault | rounds | longest wait of a record, median / worst | in sync after the return, median / worst |"]
    rows.append("|---|---|---|---|")
    for fault, came in outcomes.items():
        waits = sorted(outcome.longest_wait_s for outcome in came)
        syncs = sorted(outcome.in_sync_s for outcome in came)
        middle = len(came) // 2
        rows.append(
            f"| {fault.value} | {len(came)} | {waits[middle]:.2f} s / {waits[-1]:.2f} s "
            f"| {syncs[middle]:.2f} s / {syncs[-1]:.2f} s |"
        )
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Rounds of faults against a cluster of real processes under load.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--rounds-per-cluster", type=int, default=25)
    parser.add_argument("--seed", type=int, default=None, help="a random one by default; printed")
    parser.add_argument(
        "--faults",
        default="kill,pause",
        help=f"which faults, of {', '.join(fault.name.lower() for fault in Fault)}; default: kill,pause",
    )
    arguments = parser.parse_args()
    seed = SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    faults = [Fault[name.strip().upper()] for name in arguments.faults.split(",")]
    return campaign(seed, arguments.rounds, arguments.rounds_per_cluster, faults)


if __name__ == "__main__":
    sys.exit(main())
