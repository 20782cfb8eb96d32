"""The command: `python -m tests.compatibility [--cluster kraftpy|kafka] [--only CLIENT] [--kill-leaders]`."""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from tests.compatibility import matrix
from tests.compatibility.cache import Cache, NotAvailableError, cache_directory
from tests.compatibility.case import Client, Outcome, Verdict
from tests.compatibility.clients.every import CLIENTS
from tests.compatibility.clusters import ClusterUnderTest, KraftpyCluster
from tests.compatibility.foreign_cluster import ForeignCluster
from tests.compatibility.leader_kills import LeaderKills


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that it started ends with it
    options = arguments()
    clients = [client for client in CLIENTS if _chosen(client.name, options.only)]
    if not clients:
        print(f"no client is called so; there are {', '.join(client.name for client in CLIENTS)}", file=sys.stderr)
        return 2
    cache = Cache(cache_directory())
    results_path = cache.directory / "results" / f"{options.cluster}.json"
    results = matrix.load(results_path)
    failed = 0
    try:
        with cluster_of(options, cache) as cluster:
            for outcome in run(clients, cluster, cache, options):
                print(line_of(outcome), flush=True)
                failed += outcome.verdict is Verdict.FAILED
                today = datetime.now(UTC).date().isoformat()
                name = f"{cluster.kind} {cluster.version}"
                matrix.add(
                    results, outcome, date=today, cluster=name, kills=options.kill_leaders and not outcome.unhurt
                )
                matrix.save(results_path, results)
    except NotAvailableError as error:
        print(f"the cluster cannot be started: {error}", file=sys.stderr)
        return 2
    rendered = matrix.render(results, CLIENTS)
    print(f"\n{rendered}")
    if options.write:
        matrix.write(matrix.DOCUMENT, options.cluster, rendered)
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description="Do others' clients work?")
    parser.add_argument("--cluster", choices=("kraftpy", "kafka", "foreign"), default="kraftpy")
    parser.add_argument("--bootstrap", help="with --cluster foreign: the addresses of three nodes that run already")
    parser.add_argument("--only", action="append", default=[], metavar="CLIENT", help="the beginning of its name")
    parser.add_argument("--capability", action="append", default=[], help="these cases only")
    parser.add_argument("--kill-leaders", action="store_true", help="kill -9 leaders meanwhile")
    parser.add_argument("--write", action="store_true", help="write the matrix into docs/compatibility.md")
    options = parser.parse_args()
    if (options.cluster == "foreign") != (options.bootstrap is not None):
        parser.error("--cluster foreign goes with --bootstrap")
    if options.cluster == "foreign" and (options.kill_leaders or options.write):
        parser.error("a foreign cluster is neither hurt nor written down")
    return options


def cluster_of(options: argparse.Namespace, cache: Cache) -> ClusterUnderTest:
    match options.cluster:
        case "kafka":
            from tests.compatibility.kafka_cluster import KafkaCluster  # kafka-python, which a plain kraftpy run spares

            return KafkaCluster(cache)
        case "foreign":
            return ForeignCluster(options.bootstrap)
        case _:
            return KraftpyCluster()


def run(
    clients: Sequence[Client], cluster: ClusterUnderTest, cache: Cache, options: argparse.Namespace
) -> Iterator[Outcome]:
    """Every outcome as it comes. A client that cannot be installed fails nothing: its cases are rows that say so."""
    with contextlib.ExitStack() as stack:
        kills = stack.enter_context(LeaderKills(cluster)) if options.kill_leaders else None
        for number, client in enumerate(clients):
            cases = [case for case in client.cases if not options.capability or case.capability in options.capability]
            try:
                client.install(cache)
            except NotAvailableError as error:
                yield from (Outcome(case, Verdict.NOT_RUN, str(error), 0.0) for case in cases)
                continue
            hurt = cluster if kills is None else kills.cluster
            for outcome in client.run(cases, hurt, f"run{int(time.time())}-{number}"):
                if kills is not None:
                    kills.check()
                yield outcome
        if kills is not None:
            print(f"killed leaders: {', '.join(f'{count} of a {leads}' for leads, count in kills.counts.items())}")


def line_of(outcome: Outcome) -> str:
    case = outcome.case
    return f"{outcome.verdict.value:8} {case.client:28} {case.capability:24} {outcome.seconds:6.1f} s  {outcome.note}"


def _chosen(name: str, only: Sequence[str]) -> bool:
    return not only or any(name.startswith(wanted) for wanted in only)


if __name__ == "__main__":
    sys.exit(main())
