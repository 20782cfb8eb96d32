"""Many rounds of real faults: `python -m tests.chaos.campaign --rounds 40`, or `make chaos`.

Each cluster lives for `--rounds-per-cluster` rounds under load and is then judged and thrown away. The seed says what
happens to whom and for how long, not what the machine makes of it. Everything takes place in an enclosure, which the
kernel takes away however this ends, Ctrl-C and kill -9 included.

Exit status 1, the seed and the ends of the nodes' logs where anything was lost, repeated or swapped, or hangs; 77 with
the reason where this machine allows none of it.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

from kraftpy.testing import ClusterError
from tests.chaos import enclosure
from tests.chaos.kinds import KINDS
from tests.chaos.rounds import Outcome, lives, play_life


def campaign(directory: str, wanted: str) -> int:
    """Inside the enclosure. `wanted` is JSON: seed, rounds, rounds_per_cluster, faults, logs."""
    asked = json.loads(wanted)
    seed, faults = asked["seed"], _available(asked["faults"])
    print(f"seed {seed}: {asked['rounds']} rounds of {', '.join(faults)}", flush=True)
    began_s = time.monotonic()
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    records = count = 0
    for number, life in enumerate(lives(seed, asked["rounds"], asked["rounds_per_cluster"], faults), 1):
        print(f"cluster {number}: {life}", flush=True)
        place = os.path.join(directory, f"cluster-{number}")
        try:
            came, acknowledged = play_life(place, life, count + 1, lambda line: print(line, flush=True))
        except (AssertionError, ClusterError) as error:
            print(f"\nseed {seed}, cluster {number}: {error}", file=sys.stderr)
            return 1
        finally:
            if asked["logs"]:
                _keep_logs(place, os.path.join(asked["logs"], f"cluster-{number}"))
        shutil.rmtree(place)
        records += acknowledged
        for step, outcome in zip(life.rounds, came, strict=True):
            outcomes[step.kind].append(outcome)
        count += len(came)
    print(
        f"seed {seed}: {count} rounds in {time.monotonic() - began_s:.0f} s, {records} records acknowledged and read;"
    )
    print("none lost, repeated, out of order or given up; the replicas' files are equal")
    print(table(outcomes))
    return 0


def _keep_logs(place: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    for path in Path(place).glob("node-*.log"):
        if path.is_file():
            shutil.copy(path, target)


def _available(names: Sequence[str]) -> list[str]:
    """Those that this machine allows; says which it does not, and why."""
    reasons = {name: KINDS[name].reason_unavailable() for name in names}
    for name, reason in reasons.items():
        if reason is not None:
            print(f"skipped: {name}: {reason}")
    found = [name for name in names if reasons[name] is None]
    if not found:
        raise enclosure.Unavailable("no fault is left")
    return found


def table(outcomes: dict[str, list[Outcome]]) -> str:
    rows = [
        "| fault | rounds | longest wait of a record, median / worst | in sync after it, median / worst "
        "| log bytes that were in memory only |",
        "|---|---|---|---|---|",
    ]
    for name in (name for name in KINDS if name in outcomes):
        came = outcomes[name]
        waits = sorted(outcome.longest_wait_s for outcome in came)
        syncs = sorted(outcome.in_sync_s for outcome in came)
        middle, lost = len(came) // 2, sum(outcome.lost_bytes for outcome in came)
        rows.append(
            f"| {KINDS[name].what} (`{name}`) | {len(came)} | {waits[middle]:.2f} s / {waits[-1]:.2f} s "
            f"| {syncs[middle]:.2f} s / {syncs[-1]:.2f} s | {lost or '–'} |"
        )
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Rounds of real faults against a cluster of real processes under load."
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--rounds-per-cluster", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None, help="a random one by default; printed")
    parser.add_argument("--faults", default=",".join(KINDS), help=f"which, of {', '.join(KINDS)}; default: all")
    parser.add_argument("--logs", default="", metavar="FOLDER", help="keep the nodes' logs there")
    arguments = parser.parse_args()
    faults = [name.strip() for name in arguments.faults.split(",")]
    if unknown := [name for name in faults if name not in KINDS]:
        parser.error(f"there is no fault {unknown[0]!r}; one of {', '.join(KINDS)} is expected")
    reason = enclosure.reason_unavailable()
    if reason is not None:
        print(f"skipped: {reason}")
        return enclosure.UNAVAILABLE
    seed = SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    asked = {
        "seed": seed,
        "rounds": arguments.rounds,
        "rounds_per_cluster": arguments.rounds_per_cluster,
        "faults": faults,
        "logs": os.path.abspath(arguments.logs) if arguments.logs else "",
    }
    try:
        code, _ = enclosure.run("tests.chaos.campaign:campaign", json.dumps(asked))
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
