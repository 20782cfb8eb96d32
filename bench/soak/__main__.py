"""The command: `python -m bench.soak [--hours H] [--share S] [--busy [COMMAND]] [--results FILE] [--write]`."""

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import document
from bench.soak import judging, telling
from bench.soak.watch import Sample, look
from bench.versus.stage import Lines, ProgramFailedError, finished, found_in, python_command, started
from kraftpy.errors import KraftpyError
from kraftpy.testing import Cluster

PLOTS = {False: "plots/soak.svg", True: "plots/soak-busy.svg"}
"""By whether the cores were kept busy."""
RECORD_BYTES = 1_000
PARTITIONS = 6
KEYS = 100_000
KEYED_SHARE = 0.1
"""Of what is written, so much into the compacted topic."""

MEASURE_S = 20.0
LOOK_S = 10.0
NODES = {"log.retention.check.interval.ms": 5_000, "log.cleaner.backoff.ms": 5_000, "min.insync.replicas": 2}
FLOWS = {"segment.bytes": str(32 << 20), "retention.bytes": str(128 << 20), "file.delete.delay.ms": "1000"}
KEYED = {"cleanup.policy": "compact", "segment.bytes": str(32 << 20), "file.delete.delay.ms": "1000"}
COUNTING = f"{sys.executable} -c 'while True: pass'"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    if options.write and find_spec("matplotlib") is None:
        print("the plot needs matplotlib: pip install -e '.[versus]'", file=sys.stderr)
        return 2
    soak, samples = Soak(options), list[Sample]()
    try:
        for sample in soak.looks():
            samples.append(sample)
            print(soak.line(sample), flush=True)
            if options.results is not None:
                options.results.write_text(json.dumps([each.to_json() for each in samples]))
    except KeyboardInterrupt:
        print("stopped; judged by what there is", file=sys.stderr)
    findings = judging.judged(samples)
    elected = list(judging.elections(samples))
    rendered = telling.table(soak.how, findings, elected)
    print(rendered)
    if options.write:
        plot = PLOTS[options.busy is not None]
        telling.plot(document.DOCUMENT.parent / plot, samples)
        document.write("soak-busy" if options.busy is not None else "soak", f"{rendered}\n\n![Over time]({plot})")
    return 0 if all(each.is_flat for each in findings) and not elected else 1


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Hours under a steady load.")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--share", type=float, default=0.5, help="of the most that the cluster takes")
    parser.add_argument(
        "--busy", nargs="?", const=COUNTING, metavar="COMMAND", help="keep all cores busy beside it, with COMMAND"
    )
    parser.add_argument("--results", type=Path, metavar="FILE", help="keep every look there")
    parser.add_argument("--write", action="store_true", help="put table and plot into docs/benchmarks.md")
    return parser.parse_args(arguments)


class Soak:
    """One run; `how` says of what, once the cluster has been measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._hours: float = options.hours
        self._share: float = options.share
        self._busy: str | None = options.busy
        self.how = ""

    def looks(self) -> Iterator[Sample]:
        """Every ten seconds, until the time is over. Raises `ProgramFailedError` where a client fails."""
        with ExitStack() as stack:
            cluster = stack.enter_context(Cluster(nodes=3, config=NODES))
            for name, config in (("flow", FLOWS), ("keyed", KEYED)):
                cluster.admin.create_topic(name, partitions=PARTITIONS, replication_factor=3, config=config)
            rate = self._share * self._measured(cluster)
            if self._busy is not None:
                for _ in range(os.cpu_count() or 1):
                    stack.enter_context(started(shlex.split(self._busy)))
            asked = {"bootstrap": cluster.kafka_bootstrap, "record_bytes": RECORD_BYTES}
            flow = {**asked, "topic": "flow", "rate": rate * (1 - KEYED_SHARE), "keys": 0}
            keyed = {**asked, "topic": "keyed", "rate": rate * KEYED_SHARE, "keys": KEYS}
            writers = [stack.enter_context(client("write", each)) for each in (flow, keyed)]
            reader = stack.enter_context(client("read", {**asked, "topic": "flow"}))
            told = Lines(reader)
            began = time.monotonic()
            while (at_s := time.monotonic() - began) < self._hours * 3_600:
                time.sleep(LOOK_S)
                for each in (*writers, reader):
                    if each.poll() is not None:
                        raise ProgramFailedError(f"a client ended with {each.returncode}")
                with contextlib.suppress(KraftpyError):  # the next look tells
                    yield look(cluster, at_s, last_told(told))
            for each in writers:
                printed, _ = each.communicate()
                print(f"a writer: {found_in(printed)}", flush=True)

    def _measured(self, cluster: Cluster) -> float:
        """The most that the cluster takes, in records a second."""
        settings = {"bootstrap.servers": cluster.kafka_bootstrap, "acks": "all"}
        asked = {"topic": "flow", "settings": settings, "record_bytes": RECORD_BYTES, "sync": False}
        found = found_in(finished(python_command("rdkafka_produce", {**asked, "seconds": MEASURE_S}), 4 * MEASURE_S))
        most = float(found["records"] / found["seconds"])
        busy = " --busy" if self._busy is not None else ""
        self.how = (
            f"`python -m bench.soak --hours {self._hours:g} --share {self._share:g}{busy}` ({os.cpu_count()} cores, "
            f"Python {document.python_version()}): the most that the cluster takes is {most * RECORD_BYTES / 1e6:,.0f} "
            f"MB/s, and it was given {self._share * most * RECORD_BYTES / 1e6:,.0f}."
        )
        return most

    def line(self, sample: Sample) -> str:
        waits = ", ".join(
            f"{name} {sample.waits[name]:.1f} ms" for name in ("p50", "p99", "max") if name in sample.waits
        )
        return (
            f"{sample.at_s / 60:6.1f} of {self._hours * 60:.0f} min: {max(sample.memory_mb):.0f} MB, "
            f"{max(sample.files)} files, {max(sample.disk_mb):,.0f} MB of logs; {waits}"
        )


def client(role: str, asked: dict[str, Any]) -> contextlib.AbstractContextManager["subprocess.Popen[str]"]:
    return started([sys.executable, "-m", "bench.soak.clients", role, json.dumps(asked)])


def last_told(told: Lines) -> dict[str, float]:
    lines = told.starting('{"records":')
    found: dict[str, float] = json.loads(" ".join(lines[-1])) if lines else {}
    return found


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that it started ends with it
    sys.exit(main())
