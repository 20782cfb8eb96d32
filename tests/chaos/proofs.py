"""What runs inside an enclosure to show that each fault takes place. `test_faults` runs these, one by one."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.disk_faults import fail_flushes
from tests.chaos.disks import Ext4Disk, Journal, MemoryDisk
from tests.chaos.faults import state_of
from tests.chaos.network import CLIENTS, Network, between

PORT = 4_711
SILENCE_S = 0.15  # how long an answer is waited for that must not come
DISK_BYTES = 16 << 20

# Answers every datagram with how many have come so far.
_ECHO = """
import socket, sys
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
count = 0
while True:
    _, peer = own.recvfrom(100)
    count += 1
    own.sendto(b"%d" % count, peer)
"""
# Writes and flushes a file for every line that it is told, and says what came of it.
_FLUSHER = """
import os, sys
file = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
print("ready", flush=True)
for line in sys.stdin:
    os.write(file, b"x")
    try:
        os.fdatasync(file)
        print("flushed", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


class _Echo:
    """Somebody at place 1 who answers."""

    def __init__(self, network: Network) -> None:
        self._peer = (network.host(1), PORT)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def ask(self, timeout: float = SILENCE_S) -> int | None:
        """How many have come to the other side, this one included; None where no answer comes."""
        self._socket.settimeout(timeout)
        self._socket.sendto(b"?", self._peer)
        with contextlib.suppress(TimeoutError):
            return int(self._socket.recv(100))
        return None

    def burst(self, count: int) -> int:
        """Send so many at once; how many answers come."""
        for _ in range(count):
            self._socket.sendto(b"?", self._peer)
        self._socket.settimeout(SILENCE_S)
        answers = 0
        with contextlib.suppress(TimeoutError):
            while True:
                self._socket.recv(100)
                answers += 1
        return answers


@contextlib.contextmanager
def _echo(network: Network) -> Iterator[_Echo]:
    command = [*network.command(1), sys.executable, "-c", _ECHO, network.host(1), str(PORT)]
    with _child(command):
        yield _Echo(network)


@contextlib.contextmanager
def _child(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A process that says "ready"; gone in the end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def wire(_: str) -> None:
    """Each direction can be cut alone, both together; packets get lost by chance; they are held up; all heals."""
    to, back = (CLIENTS, 1), (1, CLIENTS)
    with Network(nodes=2) as network, _echo(network) as echo:
        assert echo.ask(5) == 1
        network.set([to], loss=1.0)
        assert echo.ask() is None
        assert network.counts()[to][1] == 1
        network.heal()
        assert echo.ask(5) == 2, "what was lost on its way there has come"
        network.set([back], loss=1.0)
        assert echo.ask() is None
        assert network.counts()[back][1] == 1
        network.heal()
        assert echo.ask(5) == 4, "only the answer was to be lost"
        network.set(between(1, [CLIENTS]), loss=1.0)
        assert echo.ask() is None
        network.heal()
        assert echo.ask(5) == 5

        network.set([to], loss=0.5)
        assert 60 <= echo.burst(200) <= 140
        network.set([to], delay_ms=80, jitter_ms=20)
        began_s = time.monotonic()
        assert echo.ask(5) is not None
        assert time.monotonic() - began_s >= 0.08
        assert network.counts()[to][2] == 1
        network.heal()
        assert all(count == (0, 0, 0) for (one, other), count in network.counts().items() if 2 in (one, other))


def power(directory: str) -> None:
    """What was flushed is there, what was not is gone; and the check of that can fail."""
    disk = Ext4Disk(os.path.join(directory, "disk"), DISK_BYTES)
    for journal in Journal:
        disk.note_control()
        disk.cut_power(journal)
        try:
            Path(disk.path, "late").write_bytes(b"x")
            raise AssertionError("a disk without power takes writes")
        except OSError as error:
            assert error.errno == errno.EIO
        disk.restore()
        disk.check_control()
        Path(disk.path, "again").write_bytes(b"x")
    for spoil, said in ((os.sync, "the power did not fail"), (lambda: _remove(disk), "more than a power failure")):
        disk.note_control()
        spoil()
        disk.cut_power(Journal.LOST)
        disk.restore()
        try:
            disk.check_control()
        except (AssertionError, FileNotFoundError) as error:
            assert said in str(error) or isinstance(error, FileNotFoundError)
        else:
            raise AssertionError("the check finds nothing")
    disk.close()


def _remove(disk: Ext4Disk) -> None:
    for path in Path(disk.path).glob(".control-*"):
        path.unlink()
    os.sync()


def full(directory: str) -> None:
    """Both kinds of disk have no room for anybody while they are full, and room again."""
    for make in (MemoryDisk, Ext4Disk):
        disk = make(os.path.join(directory, make.__name__), DISK_BYTES)
        assert not disk.is_full
        assert disk.fill() > DISK_BYTES // 2
        assert disk.is_full
        assert disk.fill() > DISK_BYTES // 2  # may be repeated
        disk.free()
        assert not disk.is_full
        disk.close()


def flushes(directory: str) -> None:
    """The flushes of a process fail from some moment on, and those of others do not."""
    command = [sys.executable, "-c", _FLUSHER]
    with _child([*command, f"{directory}/one"]) as one, _child([*command, f"{directory}/other"]) as other:
        assert _tell(one) == "flushed"
        strace = fail_flushes(one.pid, Path(directory, "trace"))
        assert _tell(one) == str(errno.EIO)
        assert _tell(one) == str(errno.EIO)
        assert _tell(other) == "flushed"
        one.kill()
        strace.communicate()
    assert "(INJECTED)" in Path(directory, "trace").read_text()


def _tell(process: "subprocess.Popen[str]") -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("flush\n")
    return process.stdout.readline().strip()


def signals(_: str) -> None:
    """A stopped process is seen to be stopped."""
    with _child([sys.executable, "-c", "print('ready', flush=True); input()"]) as process:
        assert state_of(process.pid) != "T"
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert state_of(process.pid) == "T"


def linger(directory: str, name: str) -> None:
    """Everything that an enclosure can hold, a disk of this name among it; says so, and stays until it is killed."""
    disk = Ext4Disk(os.path.join(directory, name), DISK_BYTES)
    with Network(nodes=2) as network, _echo(network), open(os.path.join(disk.path, "held"), "wb"):
        print("ready", flush=True)
        signal.pause()
