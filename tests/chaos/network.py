"""Namespaces that reach one another only through a switch of ours, and what can be done to the wire between them.

Place 0 is where the test and its clients are, place k is node k's. Everything lives inside an enclosure; no other
address is ever used.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tests.chaos.enclosure import Unavailable, call, need
from tests.chaos.switch import ADDRESS_PREFIX, MTU, device

CLIENTS = 0
Link = tuple[int, int]  # from, to


def between(place: int, others: Iterable[int]) -> list[Link]:
    """Both directions between a place and each of the others."""
    return [link for other in others if other != place for link in ((place, other), (other, place))]


class Network:
    """`with Network(nodes=3) as network:` inside an enclosure. Raises `Unavailable`."""

    def __init__(self, nodes: int) -> None:
        self.places = range(nodes + 1)

    def __enter__(self) -> Self:
        need("ip", "nsenter")
        self._switch = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.switch", str(len(self.places))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        try:
            if self._answer() != "ready":
                assert self._switch.stderr is not None
                raise Unavailable(f"no tun devices: {self._switch.stderr.read().strip().splitlines()[-1]}")
            for place in self.places:
                self._connect(place)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def host(self, place: int) -> str:
        return ".".join(map(str, (*ADDRESS_PREFIX, place + 1)))

    def command(self, place: int) -> tuple[str, ...]:
        """What a command begins with that is to run at this place."""
        return () if place == CLIENTS else ("nsenter", f"--net=/run/netns/{_name(place)}")

    def set(self, links: Iterable[Link], *, loss: float = 0.0, delay_ms: float = 0.0, jitter_ms: float = 0.0) -> None:
        """From now on, these directions lose this share of what they carry, and hold the rest up."""
        for source, target in links:
            answer = self._ask(f"set {source} {target} {loss} {delay_ms} {jitter_ms}")
            assert answer == "ok", answer

    def heal(self) -> None:
        """Everything passes everywhere, at once."""
        self.set((source, target) for source in self.places for target in self.places if source != target)

    def counts(self) -> dict[Link, tuple[int, int, int]]:
        """By direction: packets carried, lost, held up."""
        counted = json.loads(self._ask("counts"))
        return {(int(name.split()[0]), int(name.split()[1])): tuple(counts) for name, counts in counted.items()}

    def _connect(self, place: int) -> None:
        inside: tuple[str, ...] = ()
        if place != CLIENTS:
            call("ip", "netns", "add", _name(place))
            call("ip", "link", "set", device(place), "netns", _name(place))
            inside = ("-n", _name(place))
        call("ip", *inside, "link", "set", "lo", "up")
        call("ip", *inside, "address", "add", f"{self.host(place)}/24", "dev", device(place))
        call("ip", *inside, "link", "set", device(place), "mtu", str(MTU), "up")

    def _ask(self, line: str) -> str:
        assert self._switch.stdin is not None
        self._switch.stdin.write(line + "\n")
        return self._answer()

    def _answer(self) -> str:
        assert self._switch.stdout is not None
        return self._switch.stdout.readline().strip()

    def _close(self) -> None:
        for stream in (self._switch.stdin, self._switch.stdout, self._switch.stderr):
            assert stream is not None
            stream.close()
        self._switch.wait()
        for place in self.places:
            if place != CLIENTS:
                subprocess.run(["ip", "netns", "delete", _name(place)], capture_output=True, check=False)


def _name(place: int) -> str:
    return f"node-{place}"
