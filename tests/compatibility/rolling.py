"""Rolling restarts under confluent-kafka's load, and kill -9 of consumers: what do applications notice?

    python -m tests.compatibility.rolling [--cluster kraftpy|kafka] [--rounds N] [--write]

One producer (idempotent, acks=all, what librdkafka calls reasonable) sends records at a steady rate to a topic with
three replicas. Groups of two members, each member a process, read it by each protocol and commit in each way
(`handling`). A round restarts the three nodes one after the other, each by SIGTERM and on its data; while a node is
down, the oldest member of every group gets a kill -9, and another one joins. The next node's turn comes when all
replicas are in sync again and every group has handled what was acknowledged until then.

It is right when no error reached producer or consumers, every acknowledged record was handled by every group, and what
was handled twice was in the uncommitted tail of a member that was killed. `--write` puts the figures into
docs/reliability.md.
"""

import argparse
import contextlib
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.compatibility.cache import Cache, cache_directory
from tests.compatibility.clusters import SETTINGS, ClusterUnderTest, KraftpyCluster
from tests.compatibility.handling import Judgement, judge
from tests.compatibility.load import Load
from tests.compatibility.members import PROTOCOLS, Group, Membership, broker_settings, client_settings, groups

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
TOPIC = "rolling"
PARTITIONS = 6
NODES = (1, 2, 3)
BATCH = 50
AUTO_COMMIT_MS = 1_000

WAIT_S = 180.0
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, and how fast."""

    rounds: int = 2
    rate: int = 400
    """Records a second."""

    session_ms: int = 6_000
    heartbeat_ms: int = 1_000
    kinds: Sequence[tuple[str, str]] = tuple(
        (protocol, commit) for protocol in PROTOCOLS for commit in ("sync", "auto")
    )
    """Protocol and commit of each group."""


@dataclass(slots=True)
class Report:
    """What came of it."""

    cluster: str
    acknowledged: int = 0
    restarts_s: list[float] = field(default_factory=list)
    """From the SIGTERM until the node is back and in sync, and every group has caught up."""

    waits_ms: list[float] = field(default_factory=list)
    """How long each record waited for its acknowledgement."""

    errors: list[str] = field(default_factory=list)
    """The producer's."""

    groups: dict[tuple[str, str], Judgement] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        return not self.errors and all(judgement.is_right for judgement in self.groups.values())


def roll(cluster: ClusterUnderTest, plan: Plan, chance: random.Random) -> Report:
    """The whole story on a running cluster, which has `settings_of(plan)`."""
    report = Report(f"{cluster.kind} {cluster.version}")
    cluster.create_topic(TOPIC, PARTITIONS)
    with (
        tempfile.TemporaryDirectory(prefix="rolling-") as directory,
        Load(cluster.bootstrap, TOPIC, PARTITIONS, plan.rate) as load,
    ):
        memberships = [_membership(cluster, plan, *kind) for kind in plan.kinds]
        with groups(*memberships, directory=Path(directory)) as made:
            for group in made:
                group.join(), group.join()
            _wait_handled(made, load)
            for _ in range(plan.rounds):
                for node_id in chance.sample(NODES, len(NODES)):
                    begun = time.monotonic()
                    _restart(cluster, node_id, made, load)
                    report.restarts_s.append(time.monotonic() - begun)
            load.stop()
            _wait_handled(made, load)
            for group in made:
                group.leave()
            report.groups = {
                (protocol, commit): judge(group.diaries, load.acknowledged)
                for (protocol, commit), group in zip(plan.kinds, made, strict=True)
            }
    report.acknowledged, report.waits_ms, report.errors = len(load.acknowledged), load.waits_ms, load.errors
    return report


def settings_of(plan: Plan) -> dict[str, str]:
    return {**SETTINGS, **broker_settings(plan.session_ms, plan.heartbeat_ms)}


def _membership(cluster: ClusterUnderTest, plan: Plan, protocol: str, commit: str) -> Membership:
    settings = client_settings(protocol, plan.session_ms, plan.heartbeat_ms)
    settings["auto.commit.interval.ms"] = AUTO_COMMIT_MS
    return Membership(cluster.bootstrap, f"rolling-{protocol}-{commit}", TOPIC, commit, BATCH, settings)


def _restart(cluster: ClusterUnderTest, node_id: int, made: Sequence[Group], load: Load) -> None:
    cluster.stop(node_id)
    for group in made:
        group.living[0].kill()
        group.join()
    cluster.start(node_id)
    cluster.wait_in_sync()
    _wait_handled(made, load)


def _wait_handled(made: Sequence[Group], load: Load) -> None:
    """Until every group has handled what is acknowledged now, and something at all."""
    _wait(lambda: bool(load.acknowledged), "a record is acknowledged")
    wanted = set(load.acknowledged.copy())
    for group in made:

        def caught_up(group: Group = group) -> bool:
            return group.handled() >= wanted

        _wait(caught_up, f"{group.membership.group} has handled what was acknowledged")


def _wait(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {WAIT_S:g} s until {what}")
        time.sleep(LOOK_S)


# --- the command -----------------------------------------------------------------------------------------------------


def table(report: Report, plan: Plan) -> str:
    """Markdown."""
    lines = [
        f"{report.cluster}: {report.acknowledged:,} records at {plan.rate}/s were acknowledged through "
        f"{len(report.restarts_s)} restarts (median {statistics.median(report.restarts_s):.1f} s each, until in sync "
        f"and caught up; sessions of {plan.session_ms / 1000:g} s). A record waited for its acknowledgement for "
        f"{statistics.median(report.waits_ms):.0f} ms (median), {max(report.waits_ms):,.0f} ms at most; "
        f"{len(report.errors)} errors reached the producer.",
        "",
        "| group | commits | handled | lost | members killed | commits refused | repeated | at most | errors |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (protocol, commit), found in report.groups.items():
        how = f"after each batch of {BATCH} at most" if commit == "sync" else f"automatic, every {AUTO_COMMIT_MS:,} ms"
        cells = (found.handled, found.lost, found.kills, found.refused, found.repeated, found.bound, len(found.errors))
        lines.append(f"| {protocol} | {how} | " + " | ".join(f"{cell:,}" for cell in cells) + " |")
    return "\n".join(lines)


def findings(report: Report) -> Iterator[str]:
    """What is wrong, a line each."""
    yield from (f"producer: {error}" for error in report.errors)
    for (protocol, commit), found in report.groups.items():
        if not found.is_right:
            yield (
                f"{protocol}, {commit}: {found.lost} lost, {found.doubled} doubled, {found.unexplained} repeated "
                f"without a kill that explains it; errors: {list(found.errors)}"
            )


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that it started ends with it
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility.rolling", description="Rolling restarts.")
    parser.add_argument("--cluster", choices=("kraftpy", "kafka"), default="kraftpy")
    parser.add_argument("--rounds", type=int, default=Plan().rounds)
    parser.add_argument("--seed", type=int, default=0, help="the order of the nodes")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/reliability.md")
    options = parser.parse_args()
    plan = Plan(rounds=options.rounds)
    with cluster_of(options.cluster, settings_of(plan)) as cluster:
        report = roll(cluster, plan, random.Random(options.seed))
    print(table(report, plan))
    print("\n".join(findings(report)))
    if options.write:
        write(options.cluster, table(report, plan))
    return 0 if report.is_right else 1


@contextlib.contextmanager
def cluster_of(kind: str, settings: dict[str, str]) -> Iterator[ClusterUnderTest]:
    if kind == "kraftpy":
        with KraftpyCluster(settings) as ours:
            yield ours
        return
    from tests.compatibility.kafka_cluster import KafkaCluster

    with KafkaCluster(Cache(cache_directory()), settings) as kafka:
        yield kafka


def write(kind: str, text: str) -> None:
    begin, end = f"<!-- rolling {kind} -->", f"<!-- /rolling {kind} -->"
    before, rest = DOCUMENT.read_text().split(begin)
    DOCUMENT.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}")


if __name__ == "__main__":
    sys.exit(main())
