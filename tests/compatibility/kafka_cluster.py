"""Apache Kafka itself: processes that are broker and controller each, from the jars that Maven brings."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from kraftpy.testing.ports import ReservedPort
from kraftpy.testing.reaper import Reaper
from tests.compatibility.cache import Cache, tool
from tests.compatibility.cluster_view import ClusterView
from tests.compatibility.clusters import NODES, SETTINGS

CLUSTER_ID = "kraftpyCompatibilityAA"  # 16 bytes in base64, as Kafka wants it
START_S = 90.0
STOP_S = 60.0
LOG_TAIL_LINES = 30
MEMORY = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Three of them start on a small machine, at the same time as the clients."""


class KafkaClusterError(Exception):
    """Apache Kafka did not do what was asked of it; the message holds the ends of its logs."""


class KafkaCluster:
    """`with KafkaCluster(cache) as cluster:` formats the directories, starts the nodes, waits for all of them.

    `java_options` are the nodes' own. With `launch=False` the directories are formatted and no node runs yet.
    """

    kind = "kafka"

    def __init__(
        self,
        cache: Cache,
        settings: Mapping[str, str] = SETTINGS,
        *,
        nodes: int = NODES,
        java_options: Sequence[str] = MEMORY,
        launch: bool = True,
    ) -> None:
        self._java = tool("java")
        jars = cache.jars("kafka-4")
        self.version = next(jars.glob("kafka_2.13-*.jar")).stem.removeprefix("kafka_2.13-")
        self._class_path = f"{jars}{os.sep}*"
        self._settings = settings
        self._count = nodes
        self._java_options = java_options
        self._launches = launch
        self._stack = contextlib.ExitStack()
        self._nodes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self._reaper = self._stack.enter_context(Reaper())
            self._directory = Path(tempfile.mkdtemp(prefix="kafka-"))
            self._reaper.remove_at_the_end(str(self._directory))
            self._stack.callback(self._close)
            self._ports = {
                node_id: (self._stack.enter_context(ReservedPort()), self._stack.enter_context(ReservedPort()))
                for node_id in range(1, self._count + 1)
            }
            self._view = ClusterView(self.bootstrap, self._check)
            self._stack.callback(self._view.close)
            for node_id in self._ports:
                self._format(node_id)
            if self._launches:
                for node_id in self._ports:
                    self.start(node_id)
                self.wait_in_sync()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def bootstrap(self) -> str:
        return ",".join(str(listener) for listener, _ in self._ports.values())

    @property
    def node_ids(self) -> Sequence[int]:
        return list(self._ports)

    def pid(self, node_id: int) -> int:
        return self._nodes[node_id].pid

    def create_topic(self, name: str, partitions: int) -> None:
        self._view.create_topic(name, partitions, self._count)

    def partition_leader(self, topic: str, partition: int) -> int:
        return self._view.partition_leader(topic, partition, self._nodes)

    def quorum_leader(self) -> int:
        return self._view.quorum_leader(self._nodes)

    def kill(self, node_id: int) -> None:
        process = self._nodes.pop(node_id)
        process.kill()
        process.wait(30)
        self._reaper.forget(process.pid)

    def pause(self, node_id: int) -> None:
        self._nodes[node_id].send_signal(signal.SIGSTOP)

    def resume(self, node_id: int) -> None:
        self._nodes[node_id].send_signal(signal.SIGCONT)

    def stop(self, node_id: int) -> None:
        process = self._nodes.pop(node_id)
        process.terminate()
        process.wait(STOP_S)
        self._reaper.forget(process.pid)

    def start(self, node_id: int) -> None:
        with open(self._log(node_id), "ab") as log:
            process = subprocess.Popen(
                [*self._command("kafka.Kafka", self._java_options), str(self._properties(node_id))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._directory,
            )
        self._reaper.watch(process.pid)
        self._nodes[node_id] = process

    def wait_in_sync(self) -> None:
        self._view.wait_in_sync(self._count)

    def unhurt(self) -> contextlib.AbstractContextManager[bool]:
        return contextlib.nullcontext(False)

    def log_tails(self) -> str:
        return "\n".join(
            f"--- node {node_id} ---\n" + "\n".join(self._log(node_id).read_text().splitlines()[-LOG_TAIL_LINES:])
            for node_id in self._ports
            if self._log(node_id).exists()
        )

    # --- inside -------------------------------------------------------------------------------------------------------

    def _command(self, main: str, options: Sequence[str] = ()) -> list[str]:
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        unpacked = f"-Djava.io.tmpdir={self._directory}"  # native libraries, which a node that is killed leaves
        return [self._java, *options, level, unpacked, "-cp", self._class_path, main]

    def _log(self, node_id: int) -> Path:
        return self._directory / f"node-{node_id}.log"

    def _properties(self, node_id: int) -> Path:
        return self._directory / f"node-{node_id}.properties"

    def _format(self, node_id: int) -> None:
        listener, controller = self._ports[node_id]
        lines = {
            "process.roles": "broker,controller",
            "node.id": str(node_id),
            "controller.quorum.voters": ",".join(f"{voter}@{ports[1]}" for voter, ports in self._ports.items()),
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{listener},CONTROLLER://{controller}",
            "log.dirs": str(self._directory / f"data-{node_id}"),
            **self._settings,
        }
        self._properties(node_id).write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        command = self._command("kafka.tools.StorageTool", ("-XX:TieredStopAtLevel=1",))
        formatted = subprocess.run(
            [*command, "format", "--cluster-id", CLUSTER_ID, "--config", str(self._properties(node_id))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        if formatted.returncode != 0:
            raise KafkaClusterError(f"formatting failed: {formatted.stdout}{formatted.stderr}")

    def _check(self) -> None:
        for node_id, process in self._nodes.items():
            if process.poll() is not None:
                raise KafkaClusterError(f"node {node_id} ended by itself\n{self.log_tails()}")

    def _close(self) -> None:
        for node_id in list(self._nodes):
            self.kill(node_id)
