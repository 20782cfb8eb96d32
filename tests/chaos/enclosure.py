"""A room of its own for a test that mounts disks, makes networks and kills processes.

    python -m tests.chaos.enclosure module:function argument…

Mounts, network and process ids inside are private (Linux namespaces), and the processes in it end with the first of
them, which ends with whoever opened the room. All data is in a file system in memory that only those inside see. So
whatever happens to the test, kill -9 included, the kernel takes everything away: nodes, mounts, the loop devices under
them, networks, files.

Nothing of it has a directory outside. With one, there would be something to remove, and worse: where a directory is
removed on which others have mounted something, Linux takes that away at once, but leaves what is mounted further in
hanging on it; an image there and its own loop mount then hold each other for ever.
"""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

from kraftpy.testing.reaper import python_path

ROOM = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")
TOOLS = ("setpriv", "unshare", "nsenter", "mount", "umount", "ip")
UNAVAILABLE = 77  # the exit code that says so; the reason is the last line
DIRECTORY = "/run/kraftpy"  # inside: /run is our own there
MEMORY_MAX = "3g"  # of the file system in memory; it takes what is written to it and no more


class Unavailable(Exception):
    """This machine does not allow a fault; the message says why."""


def need(*tools: str) -> None:
    """Raise `Unavailable` where a program is missing."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise Unavailable(f"there is no {tool}")


def reason_unavailable() -> str | None:
    """Why there can be no enclosure here; None where there can."""
    if not sys.platform.startswith("linux"):
        return "namespaces are Linux's"
    if os.geteuid() != 0:
        return "mounts and namespaces need root"
    try:
        need(*TOOLS)
    except Unavailable as error:
        return str(error)
    tried = subprocess.run([*ROOM, "true"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces: {tried.stderr.strip()}"


def run(target: str, *arguments: str, capture: bool = False) -> tuple[int, str]:
    """Run `module:function(directory, *arguments)` in a room of its own: its exit code and, with `capture`, what it
    printed.

    Ctrl-C reaches those inside as well; they are waited for.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(python_path()),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": DIRECTORY,
    }
    with subprocess.Popen(
        [*ROOM, "--mount-proc", sys.executable, "-m", "tests.chaos.enclosure", target, *arguments],
        stdout=subprocess.PIPE if capture else None,
        stderr=subprocess.STDOUT if capture else None,
        text=True,
        env=environment,
    ) as process:
        try:
            printed, _ = process.communicate()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                process.wait()  # it was told too, and puts away what it has
            process.kill()
            raise
    return process.returncode, printed or ""


def call(*command: str) -> str:
    """Run one of the system's programs. Raises `Unavailable` with what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def main(arguments: Sequence[str]) -> int:
    target, *rest = arguments
    module, name = target.split(":")
    try:
        call("mount", "-t", "tmpfs", "-o", f"size={MEMORY_MAX}", "kraftpy", "/run")  # `ip netns` notes its names there
        os.mkdir(DIRECTORY)
        call("ip", "link", "set", "lo", "up")
        function: Callable[..., int | None] = getattr(importlib.import_module(module), name)
        return function(DIRECTORY, *rest) or 0
    except Unavailable as error:
        print(error)
        return UNAVAILABLE
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
