"""From the exec of the last node to the first acknowledged record: of a new cluster, or of one that comes back.

Directories are formatted before (Kafka's storage tool is a command of its own, ours none). The client is there already
and tries every 10 ms (`programs.first_record`), and the topic is made by its asking for it.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator

from bench.versus.contenders import JAVA_OPTIONS, settings_of
from bench.versus.rows import Figures
from bench.versus.stage import PROGRAM_S, ProgramFailedError, Stage, found_in, last_words, python_command, started
from kraftpy.testing.node_process import NodeProcess, peers_of
from kraftpy.testing.ports import ReservedPort
from kraftpy.testing.reaper import Reaper

WAIT_S = 300.0
TOPIC = "first"

Launch = Callable[[], float]
"""Starts the nodes; when the last one's exec was, by the monotonic clock."""


def new_cluster(stage: Stage) -> Figures:
    """Seconds, of a cluster that has never run."""
    with (theirs if stage.contender.is_kafka else ours)(stage) as (bootstrap, launch):
        return {"s": until_first_record(bootstrap, TOPIC, launch)}


def until_first_record(bootstrap: str, topic: str, launch: Launch) -> float:
    """Seconds from the last exec."""
    asked = {"bootstrap": bootstrap, "topic": topic, "seconds": WAIT_S}
    with started(python_command("first_record", asked)) as client:
        assert client.stdout is not None
        if client.stdout.readline().strip() != "ready":
            raise ProgramFailedError("the client did not start")
        launched_s = launch()
        printed, _ = client.communicate(timeout=PROGRAM_S)
        if client.returncode != 0:
            raise ProgramFailedError(last_words(printed))
        return float(found_in(printed)["monotonic_s"]) - launched_s


@contextlib.contextmanager
def theirs(stage: Stage) -> Iterator[tuple[str, Launch]]:
    from tests.compatibility.kafka_cluster import KafkaCluster

    settings = settings_of(stage.contender, stage.nodes)
    with KafkaCluster(stage.cache, settings, nodes=stage.nodes, java_options=JAVA_OPTIONS, launch=False) as cluster:

        def launch() -> float:
            for node_id in cluster.node_ids:
                began = time.monotonic()
                cluster.start(node_id)
            return began

        yield cluster.bootstrap, launch


@contextlib.contextmanager
def ours(stage: Stage) -> Iterator[tuple[str, Launch]]:
    settings = settings_of(stage.contender, stage.nodes)
    with contextlib.ExitStack() as stack:
        reaper = stack.enter_context(Reaper())
        directory = tempfile.mkdtemp(prefix="kraftpy-")
        reaper.remove_at_the_end(directory)
        nodes = []
        for node_id in range(1, stage.nodes + 1):
            calls, framed = (stack.enter_context(ReservedPort()) for _ in range(2))
            nodes.append(NodeProcess(node_id, directory, directory, calls, framed, reaper))
            stack.callback(nodes[-1].close)

        def launch() -> float:
            for node in nodes:
                began = time.monotonic()
                node.start(peers_of(nodes), settings)
            return began

        yield ",".join(str(node.framed) for node in nodes), launch
