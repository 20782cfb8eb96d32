"""The wire between the namespaces: a process that carries packets from one to the other, or does not.

    python -m tests.chaos.switch DEVICES

It makes one tun device for each place and is the only way between them. Every direction of every pair of places has
its own quality. What is lost is lost in silence, as on a cut cable: no answer, no refusal. (The kernel's own means for
this, netem and packet filters, are missing on many machines; a tun device is not.)

Commands come as lines on standard input, answers go to standard output:

    set FROM TO LOSS DELAY_MS JITTER_MS     lose this share (0 to 1), hold the others up; order is kept
    counts                                  {"FROM TO": [carried, lost, held up], …}

Both are answered by one line. It ends with its input.
"""

import fcntl
import json
import os
import select
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from random import Random

ADDRESS_PREFIX = bytes((192, 0, 2))  # RFC 5737: of documents, nobody's; seen in our own namespaces only
MTU = 9_000
BURST = 32  # packets of one place before another is looked at

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def device(place: int) -> str:
    return f"wire{place}"


@dataclass(slots=True)
class Direction:
    """From one place to another. Times in seconds of the monotonic clock."""

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    carried: int = 0
    lost: int = 0
    held: int = 0
    waiting: deque[tuple[float, bytes]] = field(default_factory=deque)  # due times grow

    def take(self, packet: bytes, now_s: float, random: Random) -> bool:
        """Whether the packet goes on at once; else it is lost, or waits."""
        if self.loss and random.random() < self.loss:
            self.lost += 1
            return False
        if self.delay_s or self.waiting:
            due_s = now_s + self.delay_s + random.random() * self.jitter_s
            self.waiting.append((max(due_s, self.waiting[-1][0]) if self.waiting else due_s, packet))
            self.held += 1
            return False
        self.carried += 1
        return True

    def due(self, now_s: float) -> list[bytes]:
        """Those whose time has come."""
        packets = []
        while self.waiting and self.waiting[0][0] <= now_s:
            packets.append(self.waiting.popleft()[1])
        self.carried += len(packets)
        return packets


class Switch:
    """All directions, and the devices' descriptors by place."""

    def __init__(self, descriptors: list[int], random: Random) -> None:
        self._descriptors = descriptors
        self._random = random
        self._places = {_address(place): place for place in range(len(descriptors))}
        self._directions = {
            (source, target): Direction()
            for source in range(len(descriptors))
            for target in range(len(descriptors))
            if source != target
        }
        self._by_addresses = {
            _address(source) + _address(target): (self._descriptors[target], direction)
            for (source, target), direction in self._directions.items()
        }

    def carry(self, source: int) -> None:
        """What a place has sent."""
        for _ in range(BURST):
            try:
                packet = os.read(self._descriptors[source], 1 << 16)
            except BlockingIOError:
                return
            found = self._by_addresses.get(packet[12:20])
            if found is not None and found[1].take(packet, time.monotonic(), self._random):
                _write(found[0], packet)

    def wait_s(self) -> float | None:
        """Until the next held packet is due."""
        dues = [direction.waiting[0][0] for direction in self._directions.values() if direction.waiting]
        return max(min(dues) - time.monotonic(), 0.0) if dues else None

    def deliver(self) -> None:
        """What was held up and is due."""
        now_s = time.monotonic()
        for descriptor, direction in self._by_addresses.values():
            for packet in direction.due(now_s):
                _write(descriptor, packet)

    def command(self, line: str) -> str:
        words = line.split()
        if words == ["counts"]:
            counted = {
                f"{source} {target}": [direction.carried, direction.lost, direction.held]
                for (source, target), direction in self._directions.items()
            }
            return json.dumps(counted)
        _, source, target, loss, delay_ms, jitter_ms = words
        direction = self._directions[int(source), int(target)]
        direction.loss, direction.delay_s, direction.jitter_s = (
            float(loss),
            float(delay_ms) / 1_000,
            float(jitter_ms) / 1_000,
        )
        return "ok"


def _address(place: int) -> bytes:
    return ADDRESS_PREFIX + bytes((place + 1,))


def _write(descriptor: int, packet: bytes) -> None:
    try:
        os.write(descriptor, packet)
    except OSError:  # a full queue or a device that is down: packets get lost
        pass


def _open(place: int) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", device(place).encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def main() -> None:
    descriptors = [_open(place) for place in range(int(sys.argv[1]))]
    switch = Switch(descriptors, Random())
    poll = select.epoll()
    for descriptor in (*descriptors, 0):
        poll.register(descriptor, select.EPOLLIN)
    places = {descriptor: place for place, descriptor in enumerate(descriptors)}
    print("ready", flush=True)
    while True:
        for descriptor, _ in poll.poll(switch.wait_s()):
            if descriptor in places:
                switch.carry(places[descriptor])
                continue
            line = sys.stdin.readline()
            if not line:
                return
            print(switch.command(line), flush=True)
        switch.deliver()


if __name__ == "__main__":
    main()
