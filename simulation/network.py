"""The simulated network: named hosts, links with latency and faults, connections that break.

Everything between two hosts goes through `Network.send`: an action that happens on arrival. A link may be blocked in
one direction or both; what meets a block is dropped (a partition) or held until the block is lifted (a clogged link).
Connections stand for TCP: their bytes are never lost, duplicated or reordered, so a block only delays them, until the
keep-alive gives up and both ends see the connection break. Calls stand for gRPC's unary calls: they may also be lost
(the caller's time runs out), reset before or after the peer acted, and, where `duplicate_methods` says so, delivered
twice; calls overtake each other.

A host that is down refuses at once, as a machine does whose process was killed; a host that is dark says nothing, as
one without power. A paused host accepts and does not answer. A name that is no host is unreachable (no such name).
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context, copy_context
from dataclasses import dataclass
from enum import Enum
from random import Random

from kraftpy.runtime.ports import Address
from simulation.lane import Lane, Task
from simulation.loop import Loop

OWN_NAMES = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::", "")
FIRST_FREE_PORT = 40_000


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """How the network behaves. Rates are shares of one, judged once a message."""

    latency_us_min: int = 80
    latency_us_max: int = 1_200
    spike_rate: float = 0.002  # of messages that take up to `spike_us_max`
    spike_us_max: int = 40_000
    bytes_per_us: int = 200  # of one message; messages do not share the line
    loss_rate: float = 0.0  # of requests and answers of calls: silence
    reset_rate: float = 0.0  # of calls and connection messages: the connection breaks
    duplicate_rate: float = 0.0  # of calls in `duplicate_methods`
    reorder_rate: float = 0.0  # of calls and their answers that arrive up to `reorder_us_max` later than others
    reorder_us_max: int = 500_000
    duplicate_methods: tuple[str, ...] = ("/kraftpy.pb.Quorum/",)
    keepalive_ms: int = 15_000  # after so long without a way through, or without power over there, connections break
    message_bytes_max: int = 64 << 20  # larger ones of calls are refused, as gRPC does


class HostState(Enum):
    UP = "up"
    DOWN = "down"  # no process: connections are refused
    DARK = "dark"  # no power: nothing answers


class Host:
    """One machine: its state, what listens on it, and what is open to or from it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = HostState.DOWN
        self.lane: Lane | None = None
        self.listeners: dict[int, Listener] = {}
        self.endings: dict[int, Callable[[bool], None]] = {}  # open calls and connections: what its death means to them
        self.next_port = FIRST_FREE_PORT


class Listener:
    """Something bound to a port. `context` attributes what it starts to the node that listens."""

    def __init__(self, address: Address, service: object) -> None:
        self.address = address
        self.service = service
        self.context: Context = copy_context()
        self.tasks: dict[int, Task[None]] = {}  # handlers at work, and some that are done

    def keep(self, number: int, task: Task[None]) -> None:
        """Know a handler until it says itself that it is done, so that the server's `stop` can wait for it."""
        self.tasks[number] = task

    def at_work(self) -> list[Task[None]]:
        return [task for task in self.tasks.values() if not task.done()]


class Block:
    """A blocked direction. What is `held` waits for its end, in order: reliable messages always, others if `hold`."""

    def __init__(self, hold: bool) -> None:
        self.hold = hold
        self.times = 1  # that it was blocked, and has to be unblocked
        self.held: list[tuple[Callable[[], None], bool]] = []


class Network:
    """See the module's docstring. Faults are switched by the world; counts of what happened are in `injected`."""

    def __init__(self, loop: Loop, random: Random, config: NetworkConfig | None = None) -> None:
        self.loop = loop
        self.config = config or NetworkConfig()
        self.injected: dict[str, int] = {}
        self._random = random
        self._hosts: dict[str, Host] = {}
        self._blocks: dict[tuple[str, str], Block] = {}
        self._delays_us: dict[tuple[str, str], int] = {}
        self._numbers = 0

    # --- hosts -------------------------------------------------------------------------------------------------------

    def host(self, name: str) -> Host:
        """The host of that name, made when first asked for."""
        if name not in self._hosts:
            self._hosts[name] = Host(name)
        return self._hosts[name]

    def find(self, name: str, asker: str) -> Host | None:
        """Resolve a name as `asker` would: every host calls itself localhost."""
        return self._hosts.get(asker if name in OWN_NAMES else name)

    def attach(self, name: str, lane: Lane) -> None:
        """A life begins on a host."""
        host = self.host(name)
        host.lane = lane
        host.state = HostState.UP

    def detach(self, name: str, *, dark: bool = False) -> None:
        """The life on a host has ended: whoever talks to it is told, or, in the dark, finds out by keep-alive."""
        host = self.host(name)
        host.state = HostState.DARK if dark else HostState.DOWN
        host.listeners.clear()
        endings = list(host.endings.values())
        host.endings.clear()
        for ending in endings:
            ending(dark)

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def bind(self, host_name: str, address: Address, service: object) -> Listener:
        """Listen; raises `OSError` where the port is taken or the address is another host's."""
        host = self.host(host_name)
        if address.host not in OWN_NAMES and address.host != host_name:
            raise OSError(errno.EADDRNOTAVAIL, f"cannot listen on {address}: Cannot assign requested address")
        port = address.port
        if port == 0:
            while host.next_port in host.listeners:
                host.next_port += 1
            port = host.next_port
            host.next_port += 1
        if port in host.listeners:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {address}: Address already in use")
        listener = host.listeners[port] = Listener(Address(address.host, port), service)
        return listener

    def unbind(self, host_name: str, listener: Listener) -> None:
        listeners = self.host(host_name).listeners
        if listeners.get(listener.address.port) is listener:
            del listeners[listener.address.port]

    # --- links -------------------------------------------------------------------------------------------------------

    def block(self, source: str, target: str, *, hold: bool = False) -> None:
        """Block one direction, until it was unblocked as often. `hold`: what meets the block waits for its end, instead
        of being lost."""
        block = self._blocks.get((source, target))
        if block is not None:
            block.times += 1
        else:
            self._blocks[source, target] = Block(hold)
            self.count("clog" if hold else "block")
            self.loop.trace("block", source, target, "hold" if hold else "drop")

    def unblock(self, source: str, target: str) -> None:
        block = self._blocks.get((source, target))
        if block is None:
            return
        block.times -= 1
        if block.times:
            return
        del self._blocks[source, target]
        self.loop.trace("unblock", source, target)
        for action, reliable in block.held:
            self.send(source, target, 0, action, reliable=reliable)

    def partition(self, *groups: Iterable[str], hold: bool = False) -> None:
        """Block every direction between hosts of different groups. A host in no group is blocked from nobody."""
        names = [list(group) for group in groups]
        for source, target in _pairs_across(names):
            self.block(source, target, hold=hold)

    def rejoin(self, *groups: Iterable[str]) -> None:
        """Lift the blocks between hosts of different groups."""
        for source, target in _pairs_across([list(group) for group in groups]):
            self.unblock(source, target)

    def heal(self) -> None:
        """Lift every block and delay."""
        self._delays_us.clear()
        for (source, target), block in list(self._blocks.items()):
            block.times = 1
            self.unblock(source, target)

    def delay(self, source: str, target: str, extra_ms: int) -> None:
        """Make one direction slower."""
        self._delays_us[source, target] = extra_ms * 1000
        self.count("delay")

    def is_blocked(self, source: str, target: str) -> bool:
        return (source, target) in self._blocks

    def is_cut(self, one: str, other: str) -> bool:
        """Whether no round trip is possible."""
        return (one, other) in self._blocks or (other, one) in self._blocks

    def is_paused(self, name: str) -> bool:
        lane = self.host(name).lane
        return lane is not None and lane.paused

    # --- messages ----------------------------------------------------------------------------------------------------

    def send(
        self, source: str, target: str, size_bytes: int, action: Callable[[], None], *, reliable: bool = True
    ) -> None:
        """Let `action` happen when a message of that size arrives; if not `reliable` it may be lost."""
        if not reliable and self.chance(self.config.loss_rate):
            self.count("loss")
            return
        latency_us = self._latency_us(source, target, size_bytes)
        if not reliable and self.chance(self.config.reorder_rate):
            self.count("reorder")
            latency_us += int(self._random.random() * self.config.reorder_us_max)
        self.loop.call_after_us(latency_us, self._arrive, source, target, action, reliable)

    def _arrive(self, source: str, target: str, action: Callable[[], None], reliable: bool) -> None:
        block = self._blocks.get((source, target))
        if block is None:
            action()
        elif block.hold or reliable:
            block.held.append((action, reliable))  # TCP goes on trying until the keep-alive has broken the connection
        else:
            self.count("cut")

    def _latency_us(self, source: str, target: str, size_bytes: int) -> int:
        config = self.config
        random = self._random.random
        latency = config.latency_us_min + int(random() * (config.latency_us_max - config.latency_us_min))
        if config.spike_rate and random() < config.spike_rate:
            latency += int(random() * config.spike_us_max)
        if self._delays_us:
            latency += self._delays_us.get((source, target), 0)
        return latency + size_bytes // config.bytes_per_us

    def chance(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate

    def coin(self) -> bool:
        return self._random.random() < 0.5

    def count(self, kind: str) -> None:
        self.injected[kind] = self.injected.get(kind, 0) + 1


def _pairs_across(groups: list[list[str]]) -> Iterator[tuple[str, str]]:
    for group in groups:
        for other in groups:
            if group is not other:
                yield from ((source, target) for source in group for target in other)
