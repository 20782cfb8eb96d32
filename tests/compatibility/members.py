"""Groups of `programs/python/member.py`, a process each: started, killed, told to leave, and their diaries read."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kraftpy.testing.reaper import Reaper
from tests.compatibility.handling import Diary

LEAVE_S = 30.0

PROTOCOLS: Mapping[str, Mapping[str, str]] = {
    "eager": {"partition.assignment.strategy": "range"},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "KIP-848": {"group.protocol": "consumer"},
}
"""librdkafka's settings for each way of sharing partitions."""


def broker_settings(session_ms: int, heartbeat_ms: int) -> dict[str, str]:
    """Of a cluster whose members are to have this session in every protocol."""
    return {
        "group.min.session.timeout.ms": str(min(session_ms, 6_000)),
        "group.consumer.min.session.timeout.ms": str(session_ms),
        "group.consumer.session.timeout.ms": str(session_ms),
        "group.consumer.min.heartbeat.interval.ms": str(heartbeat_ms),
        "group.consumer.heartbeat.interval.ms": str(heartbeat_ms),
    }


def client_settings(protocol: str, session_ms: int, heartbeat_ms: int) -> dict[str, object]:
    """Of a member with that session; in a group of KIP-848 it is the brokers' business."""
    settings: dict[str, object] = {"auto.offset.reset": "earliest", **PROTOCOLS[protocol]}
    if "group.protocol" not in settings:
        settings |= {"session.timeout.ms": session_ms, "heartbeat.interval.ms": heartbeat_ms}
    return settings


@dataclass(frozen=True, slots=True)
class Membership:
    """What all members of a group have in common."""

    bootstrap: str
    group: str
    topic: str
    commit: str
    """`sync` or `auto`."""

    batch: int
    settings: Mapping[str, object]


class Member:
    """One process."""

    def __init__(self, membership: Membership, path: Path, reaper: Reaper) -> None:
        self.diary = Diary()
        self._reaper = reaper
        path.touch()
        self._file = path.open()
        self._errors = path.with_suffix(".errors").open("w+")
        shared = {"bootstrap.servers": membership.bootstrap, "group.id": membership.group, **membership.settings}
        module = "tests.compatibility.programs.python.member"
        arguments = [membership.topic, str(path), membership.commit, str(membership.batch), json.dumps(shared)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
            start_new_session=True,
            cwd=Path(__file__).parents[2],
        )
        reaper.watch(self._process.pid)
        self._half = ""

    @property
    def lives(self) -> bool:
        return self._process.returncode is None

    def look(self) -> None:
        """Read what it has written since."""
        *lines, self._half = (self._half + self._file.read()).split("\n")
        for line in lines:
            self.diary.read(line)
        if self.lives and self._process.poll() is not None:
            self.diary.errors.append(f"it ended by itself, exit code {self._process.returncode}: {self._said()}")

    def kill(self) -> float:
        """kill -9; when, by the monotonic clock in ms."""
        killed_ms = self.diary.killed_ms = time.monotonic() * 1000
        self._process.kill()
        self._ended()
        return killed_ms

    def leave(self) -> float:
        """Told to leave; when, by the monotonic clock in ms. `wait` for its end."""
        self._process.terminate()
        return time.monotonic() * 1000

    def wait(self) -> None:
        """Its end after `leave`: within half a minute, and with exit code 0, or it is an error of its diary."""
        try:
            if self._process.wait(LEAVE_S) != 0:
                self.diary.errors.append(f"exit code {self._process.returncode}: {self._said()}")
        except subprocess.TimeoutExpired:
            self.diary.errors.append(f"it did not leave within {LEAVE_S:g} s")
            self._process.kill()
        self._ended()

    def close(self) -> None:
        if self.lives:
            self._process.kill()
            self._ended()
        self._file.close()
        self._errors.close()

    def _ended(self) -> None:
        self._process.wait(LEAVE_S)
        self._reaper.forget(self._process.pid)
        self.look()

    def _said(self) -> str:
        self._errors.seek(0)
        return " | ".join(self._errors.read().split("\n")[-3:])


class Group:
    """Its members, those that are gone too."""

    def __init__(self, membership: Membership, directory: Path, reaper: Reaper) -> None:
        self.membership = membership
        self.members: list[Member] = []
        self._directory = directory
        self._reaper = reaper
        self._known: set[str] = set()
        self._seen: dict[int, int] = {}

    def join(self) -> Member:
        path = self._directory / f"{self.membership.group}-{len(self.members)}"
        self.members.append(Member(self.membership, path, self._reaper))
        return self.members[-1]

    @property
    def living(self) -> list[Member]:
        return [member for member in self.members if member.lives]

    @property
    def diaries(self) -> list[Diary]:
        return [member.diary for member in self.members]

    def handled(self) -> set[str]:
        """The values that members have handled up to now."""
        for index, member in enumerate(self.members):
            member.look()
            batches = member.diary.batches
            for batch in batches[self._seen.get(index, 0) :]:
                self._known.update(value for _, value in batch.records)
            self._seen[index] = len(batches)
        return self._known

    def leave(self) -> None:
        """All living ones, at once."""
        leaving = self.living
        for member in leaving:
            member.leave()
        for member in leaving:
            member.wait()


@contextlib.contextmanager
def groups(*memberships: Membership, directory: Path) -> Iterator[list[Group]]:
    """No process outlives them."""
    with Reaper() as reaper:
        made = [Group(membership, directory, reaper) for membership in memberships]
        try:
            yield made
        finally:
            for group in made:
                for member in group.members:
                    member.close()
