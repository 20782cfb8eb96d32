"""How fast virtual time passes, on one core: a cluster of three at rest, and under load and faults.

    python -m bench.simulation [--minutes 10] [--profile] [--write]

Processor seconds of this process, not those of the clock: what else the machine does is left out. `--profile` says
where they go, `--write` puts the table into docs/benchmarks.md.
"""

import argparse
import asyncio
import cProfile
import logging
import pstats
import sys
import time
from collections.abc import Callable

from bench import document
from simulation.cluster import Cluster
from simulation.scenario import run_scenario
from simulation.simulate.options import Options
from simulation.world import World, WorldConfig

MINUTE_MS = 60_000
SEEDS = (1, 2, 3)


def at_rest(seed: int, minutes: float) -> int:
    """Three nodes that nobody asks for anything, with three partitions, witnessed; gives the virtual milliseconds."""
    world = World(seed, WorldConfig(time_limit_ms=round(minutes * 2 * MINUTE_MS)))

    async def main(world: World) -> None:
        cluster = Cluster(world)
        cluster.start()
        life = world.open_life("founder")

        async def found() -> None:
            async with cluster.admin(life) as admin:
                assert await cluster.wait_healthy(admin, 30_000) == []
                await admin.create_topic("lines", partitions=3)

        await world.run_in(life, found())
        await asyncio.sleep(minutes * 60)
        assert len(cluster.witness.image.brokers) == 3

    world.run(main)
    return world.loop.now_us // 1000


def under_load(seed: int, minutes: float, workload: tuple[str, ...]) -> int:
    """Twenty operations a virtual second, and all faults."""
    report = run_scenario(str(Options(nodes=3, minutes=minutes, workloads=workload, rate=20.0)), seed)
    assert report.ok, str(report)
    return report.virtual_ms


def measured(run: Callable[[int], int], profile: bool) -> list[float]:
    """Virtual minutes a second, a run for each seed; what is loaded for the first time is loaded before."""
    run_scenario(str(Options(nodes=3, minutes=0.02)), 0)
    speeds = []
    for seed in SEEDS:
        profiler = cProfile.Profile() if profile else None
        if profiler is not None:
            profiler.enable()
        began = time.process_time()
        virtual_ms = run(seed)
        speeds.append(virtual_ms / MINUTE_MS / (time.process_time() - began))
        if profiler is not None:
            profiler.disable()
            pstats.Stats(profiler).sort_stats("tottime").print_stats(40)
            break
    return sorted(speeds)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", choices=("rest", "log", "all"))
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    logging.disable()
    runs: dict[str, tuple[str, Callable[[int], int], str]] = {
        "rest": ("three nodes with three partitions at rest", lambda seed: at_rest(seed, options.minutes), ">= 8"),
        "log": ("20 sends a second and all faults", lambda seed: under_load(seed, options.minutes, ("log",)), ">= 1"),
        "all": (
            "20 operations a second of every workload, and all faults",
            lambda seed: under_load(seed, options.minutes, ("log", "transactions", "metadata")),
            ">= 1",
        ),
    }
    rows = []
    for name, (title, run, goal) in runs.items():
        if options.only in (None, name):
            speeds = measured(run, options.profile)
            rows.append(f"| {title} | {speeds[len(speeds) // 2]:.2f} | {speeds[0]:.2f} | {speeds[-1]:.2f} | {goal} |")
            print(rows[-1], flush=True)
    if options.write:
        _write(rows, options.minutes)


def _write(rows: list[str], minutes: float) -> None:
    table = [
        f"`python -m bench.simulation --minutes {minutes:g} --write`, {len(SEEDS)} seeds each, virtual minutes for a "
        f"second of one core (Python {document.python_version()}).",
        "",
        "| what | median | least | most | goal |",
        "|---|---:|---:|---:|---:|",
        *rows,
    ]
    document.write("simulation", "\n".join(table))


if __name__ == "__main__":
    main(sys.argv[1:])
