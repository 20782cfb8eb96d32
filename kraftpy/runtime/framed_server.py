"""The serving side of the framed transport: a listener, its connections, and what they may occupy.

    accept → receive → frames → handlers (several at once) → answers in the order of the requests → send

What holds of one connection is said there (`served_connection`). Invariants of all together:
- Large frames of all connections together hold at most `receive_bytes_max`, counted as their bytes come (an
  announcement costs nothing to send, so it gets nothing) until their handler has answered. A connection that gets no
  more memory is not read and waits its turn. So that half-received frames cannot block each other for good, one
  connection at a time is exempt, and may hold one largest frame on top. Small frames never wait, or the followers'
  fetches could wait for the very produce requests that they would complete.
- Time-outs are counted in sweeps of the loop rather than by a clock: a process that was stopped for a minute has seen
  one sweep, and reads what arrived meanwhile before it judges anybody.
"""

import asyncio
import errno
import logging
import socket
from collections import Counter, deque

from kraftpy.runtime.frame_reader import RECEIVE_BUFFER_BYTES
from kraftpy.runtime.frame_writer import RunOnDisk
from kraftpy.runtime.framed_config import SYSTEM, FramedConfig
from kraftpy.runtime.ports import Address, OpenHandler
from kraftpy.runtime.served_connection import ServedConnection
from kraftpy.runtime.sockets import prepare

logger = logging.getLogger(__name__)

SWEEPS_PER_TIMEOUT = 8
ACCEPTS_PER_TURN = 64
ACCEPT_RETRY_SECONDS = 0.5
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class FramedServer:
    """One listener. Satisfies `kraftpy.runtime.ports.Server`."""

    def __init__(
        self,
        listening: socket.socket,
        address: Address,
        open_handler: OpenHandler,
        run: RunOnDisk,
        config: FramedConfig,
        calls: Address | None = None,
    ) -> None:
        """`listening` is bound to `address`, listens, and does not block. The running loop serves it from now on.
        `calls`: where connections are passed on to that speak HTTP/2."""
        self.loop = asyncio.get_running_loop()
        self.config = config
        self.run = run
        self.calls = calls
        self.passed_on_count = 0  # connections that are being passed on; 0 <= count <= config.passed_on_max
        self.receive_buffer = memoryview(bytearray(RECEIVE_BUFFER_BYTES))
        self._address = address
        self._listening = listening
        self._open_handler = open_handler
        self._connections: dict[ServedConnection, None] = {}  # in the order of their arrival
        self._per_host: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reserved_bytes = 0  # 0 <= reserved <= config.receive_bytes_max + config.frame_bytes_max
        self._with_exemption_bytes_max = config.receive_bytes_max + config.frame_bytes_max
        self._exempt: ServedConnection | None = None  # from receive_bytes_max, as long as it holds anything
        self._waiting_for_memory: deque[ServedConnection] = deque()  # each at most once, the longest waiting first
        self._refusing = False  # connections; said once a sweep
        self._stopping = False
        self._all_closed = asyncio.Event()
        self._sweep_seconds = min(config.stall_ms, config.idle_ms, config.hello_ms) / 1000 / SWEEPS_PER_TIMEOUT
        self._sweep_timer = self.loop.call_later(self._sweep_seconds, self._sweep)
        self.loop.add_reader(listening.fileno(), self._acceptable)

    @property
    def address(self) -> Address:
        return self._address

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    @property
    def reserved_bytes(self) -> int:
        """What large frames occupy at the moment."""
        return self._reserved_bytes

    async def stop(self, grace_ms: int = 0) -> None:
        """Accept nothing more, give requests `grace_ms` to be answered, close everything. May be called again."""
        if not self._stopping:
            self._stopping = True
            self._sweep_timer.cancel()
            self.loop.remove_reader(self._listening.fileno())
            self._listening.close()
        for connection in list(self._connections):
            connection.drain()
        if self._connections and grace_ms > 0:
            try:
                async with asyncio.timeout(grace_ms / 1000):
                    await self._all_closed.wait()
            except TimeoutError:
                pass
        for connection in list(self._connections):
            connection.close("")
        while self._tasks:  # they leave a turn after their end, with what else is called back then
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)

    # --- for the connections

    def start(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def reserve(self, size: int, connection: ServedConnection, begins: bool) -> bool:
        """Whether there is memory for a large frame that begins or grows; if not, `connection` is resumed in its turn.

        Only the first in the queue gets any, and the exempt one for a frame that it has begun.
        """
        waiting = self._waiting_for_memory
        is_first = not waiting or waiting[0] is connection
        is_exempt = self._exempt is connection or (self._exempt is None and is_first)
        needed = self._reserved_bytes + size
        if is_first and needed <= self.config.receive_bytes_max:
            pass
        elif is_exempt and (is_first or not begins) and needed <= self._with_exemption_bytes_max:
            self._exempt = connection
        else:
            if not connection.waits_for_memory:
                connection.waits_for_memory = True
                waiting.append(connection)
            return False
        self._reserved_bytes += size
        connection.reserved_bytes += size
        self._leave_queue(connection)
        return True

    def release(self, size: int, connection: ServedConnection) -> None:
        """Give back what was reserved, and let in whoever has waited longest, as long as there is room."""
        self._reserved_bytes -= size
        connection.reserved_bytes -= size
        if self._exempt is connection and not connection.reserved_bytes:
            self._exempt = None
        if self._exempt is not None and self._exempt.waits_for_memory:
            self._exempt.resume()
        waiting = self._waiting_for_memory
        while waiting:
            first = waiting[0]
            first.resume()
            if first.waits_for_memory:
                return

    def _leave_queue(self, connection: ServedConnection) -> None:
        if connection.waits_for_memory:
            connection.waits_for_memory = False
            self._waiting_for_memory.remove(connection)

    def forget(self, connection: ServedConnection) -> None:
        """It is closed. What its handlers hold is released when they have ended."""
        self._leave_queue(connection)
        self.release(0, connection)
        del self._connections[connection]
        self._per_host[connection.peer.host] -= 1
        if not self._per_host[connection.peer.host]:
            del self._per_host[connection.peer.host]
        if self._stopping and not self._connections:
            self._all_closed.set()

    # --- accepting

    def _acceptable(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, name = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(error)
                return
            peer = Address(name[0].removeprefix("::ffff:"), name[1])  # IPv4, heard by an IPv6 socket
            if self._admit(peer):
                self._accept(accepted, peer)
            else:
                accepted.close()

    def _accept_failed(self, error: OSError) -> None:
        """Out of descriptors or memory, most likely; a level-triggered loop would spin, so look again later."""
        if error.errno not in _EXHAUSTED:
            logger.error("%s: cannot accept connections: %s", self._address, error)
        elif not self._refusing:
            self._refusing = True
            logger.warning("%s: connections wait, the process is out of resources: %s", self._address, error)
        self.loop.remove_reader(self._listening.fileno())
        self.loop.call_later(ACCEPT_RETRY_SECONDS, self._accept_again)

    def _accept_again(self) -> None:
        if not self._stopping:
            self.loop.add_reader(self._listening.fileno(), self._acceptable)

    def _admit(self, peer: Address) -> bool:
        """Whether there is room for it; the first one that is refused is told of."""
        config = self.config
        count, per_address_max = len(self._connections), config.connections_per_address_max
        if count >= config.connections_max * 3 // 4 and config.crowded_per_address_max is not None:
            per_address_max = min(per_address_max, config.crowded_per_address_max)
        room = count < config.connections_max and self._per_host[peer.host] < per_address_max
        if not room and not self._refusing:
            self._refusing = True
            logger.warning("%s: connections are refused: %s, or all together, have too many", self._address, peer.host)
        return room

    def _accept(self, accepted: socket.socket, peer: Address) -> None:
        try:
            prepare(accepted)
            if self.config.send_buffer_bytes != SYSTEM:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.config.send_buffer_bytes)
            handler = self._open_handler(peer)
        except OSError:  # gone before it was welcomed
            accepted.close()
            return
        except Exception:  # as good as the top of a task
            logger.exception("%s: connection closed: it could not be served", peer)
            accepted.close()
            return
        self._connections[ServedConnection(self, accepted, peer, handler)] = None
        self._per_host[peer.host] += 1

    def _sweep(self) -> None:
        self._sweep_timer = self.loop.call_later(self._sweep_seconds, self._sweep)
        config = self.config
        limits = [
            int(limit_ms / 1000 / self._sweep_seconds)
            for limit_ms in (config.stall_ms, config.idle_ms, config.hello_ms)
        ]
        self._refusing = False
        for connection in list(self._connections):
            connection.sweep(*limits)
