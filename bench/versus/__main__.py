"""The command: `python -m bench.versus [--rounds N] [--only NAME,…] [--grid] [--quick] [--write]`."""

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import confluent_kafka

from bench import document
from bench.bytecode import as_installed
from bench.versus import grid_report, kept, report
from bench.versus.contenders import Contender
from bench.versus.measures import MEASURES
from bench.versus.memory import PageCache
from bench.versus.rounds import plan
from bench.versus.rows import Measure
from bench.versus.session import Session, tell
from tests.compatibility.cache import Cache, NotAvailableError, cache_directory, tool

FOLDER = document.DOCUMENT.parent / "plots"
DESCRIPTION = """\
Apache Kafka and kraftpy by turns, on the same disk and with the same clients. Three rounds of everything take about an
hour and a half on two cores, three rounds of the grid an hour and a quarter more; a --quick run takes minutes, and
its figures mean nothing. What was found is kept in --results; --resume goes on with it."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    if options.write and find_spec("matplotlib") is None:
        print("the plots need matplotlib: pip install -e '.[bench]'", file=sys.stderr)
        return 2
    as_installed()
    cache = Cache(cache_directory())
    results_path = options.results or cache.directory / "results" / "versus.json"
    found = kept.load(results_path) if options.resume else kept.Kept()
    found.facts |= facts(options)
    try:
        if any(contender.is_kafka for contender in options.contenders):
            tool("mvn")
            found.facts["Java"] = java_version()
            cache.jars("kafka-4")
        with contextlib.nullcontext() if options.quick else PageCache() as memory:
            session = Session(cache, results_path, options.quick, found, memory)
            if memory is not None:
                tell("filling free memory with pages of the cache, which takes a minute where the host has to give it")
                memory.fill()
            if not options.grid or options.only:
                session.run(plan(options.only or MEASURES, options.rounds, options.contenders))
            if options.grid:
                session.run_grid(options.rounds)
    except NotAvailableError as error:
        print(f"Apache Kafka cannot be had: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        tell(f"stopped; what was found is in {results_path}")
        return 130
    publish(found, options)
    return 1 if any(taken.error for taken in found.results.values()) else 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.versus", description=DESCRIPTION)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", type=chosen, metavar="NAME,…", help=f"beginnings of {', '.join(each.name for each in MEASURES)}"
    )
    parser.add_argument("--contenders", type=contenders, default=list(Contender), metavar="NAME,…")
    parser.add_argument("--grid", action="store_true", help="the heat maps (and, with --only, measures)")
    parser.add_argument("--quick", action="store_true", help="as little as can be: does everything work?")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="where to keep what was found (default: the cache)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with what was kept; --rounds 0 takes nothing more")
    parser.add_argument("--write", action="store_true", help="put table and plots into docs/benchmarks.md")
    return parser.parse_args(arguments)


def chosen(names: str) -> list[Measure]:
    wanted = names.split(",")
    for name in wanted:
        if not any(measure.name.startswith(name) for measure in MEASURES):
            raise argparse.ArgumentTypeError(f"no measure is called {name}")
    return [measure for measure in MEASURES if any(measure.name.startswith(name) for name in wanted)]


def contenders(names: str) -> list[Contender]:
    wanted = names.split(",")
    for name in set(wanted) - {each.value for each in Contender}:
        known = ", ".join(each.value for each in Contender)
        raise argparse.ArgumentTypeError(f"no contender is called {name}; there are {known}")
    return [contender for contender in Contender if contender.value in wanted]


def facts(options: argparse.Namespace) -> dict[str, str]:
    """What a reader wants to know of the run."""
    known = {
        "rounds": str(options.rounds),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": document.python_version(),
        "librdkafka": confluent_kafka.libversion()[0],
    }
    return {**known, **({"quick": "yes, so the figures mean nothing"} if options.quick else {})}


def java_version() -> str:
    """As it calls itself. Raises `NotAvailableError`."""
    said = subprocess.run([tool("java"), "-version"], capture_output=True, text=True, check=True).stderr
    return said.splitlines()[0].replace('"', "")


def publish(found: kept.Kept, options: argparse.Namespace) -> None:
    """Print what was found, and write the document: a section for the measures, one for the grid."""
    taken = {name for _, name, _ in found.results}
    measures = [measure for measure in MEASURES if measure.name in taken]
    if measures:
        links = linked(lambda plots: [plots.ratios(FOLDER, measures, found)], options)
        show("versus", report.markdown(measures, found, "python -m bench.versus", links), options)
    if found.grid:
        links = linked(lambda plots: plots.heat_maps(FOLDER, found), options)
        show("versus-grid", grid_report.markdown(found, "python -m bench.versus --grid", links), options)


def linked(
    draw: Callable[[ModuleType], Iterable[tuple[str, Path]]], options: argparse.Namespace
) -> list[tuple[str, str]]:
    """Captions of what was drawn, and the paths to it as the document has them."""
    if not options.write:
        return []
    from bench.versus import plots  # matplotlib

    return [(caption, f"{FOLDER.name}/{path.name}") for caption, path in draw(plots)]


def show(section: str, rendered: str, options: argparse.Namespace) -> None:
    print(rendered)
    if options.write:
        document.write(section, rendered)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that it started ends with it
    sys.exit(main())
