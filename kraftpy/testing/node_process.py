"""One node as a process: its command line, its signals, its log."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kraftpy.runtime.ports import Address
from kraftpy.testing.ports import ReservedPort
from kraftpy.testing.reaper import Reaper, python_path

LOG_TAIL_LINES = 40
LAUNCHER = "kraftpy.testing.launch"


class NodeProcess:
    """A node that can be started, hurt, and started again; its ports and its data stay."""

    def __init__(
        self,
        node_id: int,
        directory: str,
        notices: str,
        calls: ReservedPort | Address,
        framed: ReservedPort | Address,
        reaper: Reaper,
        log_dirs: int = 1,
        within: Sequence[str] = (),
    ) -> None:
        """Data (in so many log directories) and log go into `directory`; `notices` is one of short name, for the socket
        of its notices. `within` begins its command line, where another program starts it (and becomes it)."""
        self.node_id = node_id
        self.calls = calls
        self.framed = framed
        self.data_directory = os.path.join(directory, f"node-{node_id}")
        more = [f"{self.data_directory}-disk-{number}" for number in range(2, log_dirs + 1)]
        self.data_directories = (self.data_directory, *more)
        self.log_path = Path(directory) / f"node-{node_id}.log"
        self._reaper = reaper
        self._within = tuple(within)
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        self._may_end = True
        self._ready = False
        self._notices_path = os.path.join(notices, f"{node_id}")
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.setblocking(False)
        self._notices.bind(self._notices_path)

    @property
    def ready(self) -> bool:
        """Whether the process that runs now has said that it is in service (sd_notify's READY=1)."""
        for notice in self._read_notices():
            self._ready = self._ready or b"READY=1" in notice.split(b"\n")
        return self._ready and self.running

    @property
    def running(self) -> bool:
        """Whether its process lives; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def exit_code(self) -> int | None:
        return None if self._process is None else self._process.poll()

    @property
    def has_failed(self) -> bool:
        """Whether its process has ended although nobody told it to."""
        return self.exit_code is not None and not self._may_end

    @property
    def pid(self) -> int:
        assert self._process is not None, f"node {self.node_id} was never started"
        return self._process.pid

    def start(self, peers: str, settings: Mapping[str, str], launcher: str = LAUNCHER) -> None:
        """Start it; it is up when the cluster says so."""
        if self.running:
            raise RuntimeError(f"node {self.node_id} is running already")
        for _ in self._read_notices():
            pass  # of its last life
        self._ready = False
        arguments = ["node", "--strict", "--id", str(self.node_id), "--peers", peers]
        arguments += ["--data-dir", ",".join(self.data_directories)]
        arguments += ["--listen", str(self.calls), "--listeners", f"PLAINTEXT://{self.framed}"]
        for name, value in settings.items():
            arguments += ["--set", f"{name}={value}"]
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                [*self._within, sys.executable, "-m", launcher, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**_environment(), "NOTIFY_SOCKET": self._notices_path},
            )
        self._paused = False
        self._may_end = False
        self._reaper.watch(self._process.pid)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already; its exit code will tell
            self._process.stdin.write(b"go\n")
            self._process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        if self._process is None or not self.running:
            raise RuntimeError(f"node {self.node_id} is not running")
        self._process.send_signal(number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            self._paused = number == signal.SIGSTOP
        else:
            self._may_end = True

    def wait(self, timeout: float) -> int:
        """Wait until it has exited; its code. Raises `subprocess.TimeoutExpired`."""
        assert self._process is not None
        code = self._process.wait(timeout)
        self._reaper.forget(self._process.pid)
        self._paused = False
        return code

    def kill(self) -> None:
        """kill -9, and wait until it is gone. Nothing happens to one that is not running."""
        self._may_end = True
        if self.running:
            self.signal(signal.SIGKILL)
            self.wait(30)

    def close(self) -> None:
        """kill -9 if need be, and give up its socket."""
        self.kill()
        self._notices.close()

    def _read_notices(self) -> Iterator[bytes]:
        while True:
            try:
                yield self._notices.recv(4_096)
            except BlockingIOError:
                return

    def log(self) -> str:
        """Everything that it has printed, in all its lives."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        return "\n".join(self.log().splitlines()[-lines:])


def _environment() -> dict[str, str]:
    """This process's, without the settings that are meant for other Kafkas."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "KRAFTPY_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join(python_path()), "PYTHONUNBUFFERED": "1"}


def peers_of(nodes: Sequence[NodeProcess]) -> str:
    return ",".join(f"{node.node_id}@{node.calls}" for node in nodes)
