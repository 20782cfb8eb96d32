"""Builds the wheel, installs it as a stranger would, and uses it: `make wheel-check`. Needs a package index.

    python -m tests.tools.wheel_check

An empty environment outside the checkout; `kraftpy --help`, a short simulation, the SDK's names, then a node that a
producer and a consumer use, and SIGTERM, which must end it with exit code 0.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 30

USE = """
import sys
from kraftpy import Admin, Consumer, Producer
address = sys.argv[1]
with Admin(address) as admin:
    admin.create_topic("lines", partitions=1, replication_factor=1)
with Producer(address) as producer:
    producer.send("lines", b"hello").result(10)
with Consumer("lines", bootstrap=address, auto_offset_reset="earliest") as consumer:
    print(next(iter(consumer)).value)
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kraftpy-wheel-") as name:
        folder = Path(name)
        _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", name, str(ROOT)], folder)
        (wheel,) = folder.glob("kraftpy-*.whl")
        _run([sys.executable, "-m", "venv", str(folder / "venv")], folder)
        binaries = folder / "venv" / "bin"
        _run([str(binaries / "python"), "-m", "pip", "install", "--quiet", str(wheel)], folder)
        print(_run([str(binaries / "pip"), "list"], folder))
        _run([str(binaries / "kraftpy"), "--help"], folder)
        _run([str(binaries / "kraftpy"), "simulate", "--seed", "1", "--nodes", "3", "--minutes", "0.1"], folder)
        _use_a_node(binaries, folder)
    print("wheel check: installed, imported, served, stopped")
    return 0


def _use_a_node(binaries: Path, folder: Path) -> None:
    calls, framed = _free_ports()
    command = [
        *(str(binaries / "kraftpy"), "node", "--id", "1", "--peers", f"1@127.0.0.1:{calls}"),
        *(
            "--data-dir",
            str(folder / "data"),
            "--set",
            f"listeners=GRPC://127.0.0.1:{calls},PLAINTEXT://127.0.0.1:{framed}",
        ),
    ]
    with subprocess.Popen(command, cwd=folder) as node:
        try:
            _await_port(calls, node)
            answer = _run([str(binaries / "python"), "-c", USE, f"127.0.0.1:{calls}"], folder)
            assert answer.strip() == "b'hello'", answer
            node.send_signal(signal.SIGTERM)
            assert node.wait(30) == 0, f"stopped with {node.returncode}"
        finally:
            node.kill()


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def _await_port(port: int, node: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        assert node.poll() is None, f"the node ended with {node.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def _run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
