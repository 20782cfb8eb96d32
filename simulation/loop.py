"""A deterministic asyncio event loop on virtual time.

Nothing here waits. When no callback is ready, time jumps to the next timer; so an hour of a cluster at rest costs as
much as its timers do. Everything that could differ between two runs is decided by the seed or refused:

- Every callback belongs to a *lane*: one life of one node, found through a context variable that tasks hand on to
  what they start. Lanes take turns as the seed says; inside a lane callbacks run in the order in which they were
  scheduled, because asyncio promises that and shells may rely on it. Timers that are due in the same microsecond fire
  in an order that the seed chooses, because asyncio promises nothing there.
- A lane can be paused (its callbacks wait; what it received runs first on resume, then its late timers, as after
  SIGSTOP) or killed (what it had scheduled never runs, its coroutines are closed against dead ports).
- Threads, sockets, subprocesses and signals raise `Refused`.
- The cyclic garbage collector runs at fixed points of the callback count only, since finalizers may schedule work.
- `trace_hash()` is a digest of every turn taken and of every line given to `trace`: equal for equal seeds.

Invariants: time never goes back; a lane is in `_runnable` exactly while it has ready callbacks and is neither paused
nor dead; nothing of a dead lane ever runs again.

What it is not: a model of computing time. Callbacks take none, unless a node is paused.
"""

import asyncio
import gc
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random
from typing import Any, NoReturn, TypeVar, TypeVarTuple

from simulation.lane import LANE, Handle, Lane, Task

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CALLBACKS_IN_ONE_INSTANT_MAX = 2_000_000
CALLBACKS_PER_YOUNG_COLLECTION = 25_000
YOUNG_PER_FULL_COLLECTION = 16
CLOSE_ATTEMPTS_MAX = 32
TRACE_LINES_KEPT = 4_000


class SimulationError(Exception):
    """The simulation itself cannot go on; the message says why."""


class Deadlock(SimulationError):
    """Nothing is ready and nothing is timed, but the main task is not done."""


class Livelock(SimulationError):
    """Callbacks schedule each other for ever without letting time pass."""


class TimeLimit(SimulationError):
    """Virtual time passed the limit of the run."""


class Refused(SimulationError):
    """Simulated code reached for a thread, a socket, a process or a signal."""


class NodeCrashed(BaseException):
    """Raised into code of a node that is already dead; not an `Exception`, so that no handler outlives its process."""


class Loop(asyncio.BaseEventLoop):
    """See the module's docstring. `seed` chooses between everything that a real machine would leave open."""

    def __init__(self, seed: int = 0, *, time_limit_ms: int | None = None, keep_trace: bool = False) -> None:
        super().__init__()
        self.set_debug(False)
        self.seed = seed
        self.now_us = 0
        self.callbacks = 0
        self.time_limit_us = None if time_limit_ms is None else time_limit_ms * 1000
        self.failures: list[str] = []  # exceptions that nobody handled, in living lanes
        self.on_failure: Callable[[], None] | None = None
        self.on_trace: Callable[[int, str, tuple[object, ...]], None] | None = None  # virtual time, kind, details
        self._random = Random(f"{seed}/loop")
        self._timers: list[tuple[int, int, Handle]] = []
        self._timer_number = 0
        self._task_number = 0
        self._lanes: list[Lane] = []
        self._runnable: list[Lane] = []
        self._digest = blake2b(str(seed).encode(), digest_size=16)
        self._turns = 0
        self._trace: deque[str] = deque(maxlen=None if keep_trace else TRACE_LINES_KEPT)
        self._generator_lanes: dict[int, Lane] = {}
        self._instant_began_at = 0
        self._collect_at = CALLBACKS_PER_YOUNG_COLLECTION
        self._collections = 0
        self._abandoned: list[object] = []
        self.world = self.new_lane("world")

    # --- lanes -------------------------------------------------------------------------------------------------------

    def new_lane(self, name: str) -> Lane:
        lane = Lane(name, len(self._lanes))
        self._lanes.append(lane)
        return lane

    @property
    def lane(self) -> Lane:
        """The lane of the code that is running now."""
        return LANE.get() or self.world

    def pause(self, lane: Lane) -> None:
        """Hold the lane's callbacks and timers until `resume`."""
        if not lane.dead and not lane.paused:
            lane.paused = True
            self._withdraw(lane)

    def resume(self, lane: Lane) -> None:
        """Let it run on: first what arrived, then the timers that fell due meanwhile."""
        if lane.dead or not lane.paused:
            return
        lane.paused = False
        lane.ready.extend(lane.late)
        lane.late.clear()
        if lane.ready:
            self._enqueue(lane)

    def kill(self, lane: Lane) -> None:
        """End the lane at once. Its coroutines are closed with their ports dead (the caller sees to that first)."""
        if lane.dead:
            return
        assert lane is not self.world, "the world outlives its nodes"
        lane.dead = True
        lane.paused = False
        self._withdraw(lane)
        lane.ready.clear()
        lane.late.clear()
        tasks, lane.tasks = lane.tasks, []
        for task in tasks:
            if not task.done():
                self._abandon(task)

    def drop_lane(self, lane: Lane) -> None:
        """Forget a dead lane, so that a run of many restarts does not remember them all."""
        assert lane.dead
        if lane in self._lanes:
            self._lanes.remove(lane)

    def set_clock(self, lane: Lane, rate: float, forward_us: int = 0) -> None:
        """From now on the lane's clock runs at `rate`, after a jump forward (a monotonic clock never jumps back)."""
        assert rate > 0 and forward_us >= 0
        lane.base_us = self.local_us(lane) + forward_us
        lane.origin_us = self.now_us
        lane.rate = rate

    def local_us(self, lane: Lane) -> float:
        """The lane's own monotonic time, microseconds."""
        return lane.base_us + (self.now_us - lane.origin_us) * lane.rate

    def _enqueue(self, lane: Lane) -> None:
        if not lane.queued:
            lane.queued = True
            self._runnable.append(lane)

    def _withdraw(self, lane: Lane) -> None:
        if lane.queued:
            lane.queued = False
            self._runnable.remove(lane)

    def _abandon(self, task: "Task[Any]") -> None:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        if asyncio.current_task(self) is task:
            return  # it runs right now and is being unwound by `NodeCrashed`
        coroutine = task.get_coro()
        context = task.lane.context.copy()
        for _ in range(CLOSE_ATTEMPTS_MAX):
            try:
                context.run(_unwind, coroutine)
            except BaseException:  # whatever a dying frame says, nobody is left to hear it
                return
        self._abandoned.append(coroutine)

    # --- the turn ----------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """Turns until nothing is ready or the run is over, then time goes on."""
        while self._runnable:
            self._take_turn()
            if self._stopping:  # type: ignore[attr-defined]
                return
        self._advance()

    def _take_turn(self) -> None:
        runnable = self._runnable
        count = len(runnable)
        lane = runnable[0] if count == 1 else runnable[int(self._random.random() * count)]
        ready = lane.ready
        todo = len(ready)
        self._turns = (self._turns * 1_000_003 + (self.now_us << 12) + (lane.index << 6) + todo) & 0xFFFFFFFFFFFFFFFF
        self.callbacks += todo
        while todo and ready:
            todo -= 1
            handle = ready.popleft()
            if handle._cancelled:
                continue
            try:
                handle._context.run(handle._callback, *handle._args)  # type: ignore[arg-type]
            except (SystemExit, KeyboardInterrupt, SimulationError):
                raise
            except BaseException as error:
                self._callback_failed(handle, error)
            if not lane.queued:
                break  # paused or killed by its own callback
        if lane.queued and not ready:
            self._withdraw(lane)
        if self.callbacks >= self._collect_at:
            self._collect()

    def _advance(self) -> None:
        """Jump to the next timer and make ready all that are due."""
        timers = self._timers
        while timers and (timers[0][2]._cancelled or timers[0][2].lane.dead):
            heappop(timers)
        if not timers:
            raise Deadlock(f"nothing is ready and nothing is timed\n{self.describe_tasks()}")
        now_us = self.now_us = timers[0][0]
        self._instant_began_at = self.callbacks
        if self.time_limit_us is not None and now_us > self.time_limit_us:
            raise TimeLimit(f"virtual time passed {self.time_limit_us // 1000} ms\n{self.describe_tasks()}")
        while timers and timers[0][0] <= now_us:
            handle = heappop(timers)[2]
            lane = handle.lane
            if handle._cancelled or lane.dead:
                continue
            if lane.paused:
                lane.late.append(handle)
            else:
                lane.ready.append(handle)
                if not lane.queued:
                    self._enqueue(lane)

    def _collect(self) -> None:
        if self.callbacks - self._instant_began_at > CALLBACKS_IN_ONE_INSTANT_MAX:
            raise Livelock(f"{CALLBACKS_IN_ONE_INSTANT_MAX} callbacks without time passing\n{self.describe_tasks()}")
        self._collect_at = self.callbacks + CALLBACKS_PER_YOUNG_COLLECTION
        self._collections += 1
        gc.collect(2 if self._collections % YOUNG_PER_FULL_COLLECTION == 0 else 0)

    def _callback_failed(self, handle: Handle, error: BaseException) -> None:
        if not handle.lane.dead:
            self._report(handle.lane, f"exception in callback {handle._callback!r}", error)

    # --- scheduling --------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """The running lane's monotonic time in seconds."""
        lane = LANE.get()
        if lane is None or (lane.rate == 1.0 and not lane.base_us and not lane.origin_us):
            return self.now_us / 1e6
        return self.local_us(lane) / 1e6

    def call_soon(  # type: ignore[override]
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Handle:
        if context is None:
            context = copy_context()
        lane = context.get(LANE) or self.world
        handle = Handle(callback, args, context, lane)
        if lane.dead:
            handle.cancel()
            return handle
        lane.ready.append(handle)
        if not lane.queued and not lane.paused:
            lane.queued = True
            self._runnable.append(lane)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Handle:
        """There is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Handle:
        if context is None:
            context = copy_context()
        lane = context.get(LANE) or self.world
        delay_us = round(delay * 1e6 / lane.rate) if delay > 0 else 0
        return self._call_at_us(self.now_us + delay_us, callback, args, context, lane)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Handle:
        if context is None:
            context = copy_context()
        lane = context.get(LANE) or self.world
        delay_us = max(0, round((when * 1e6 - self.local_us(lane)) / lane.rate))
        return self._call_at_us(self.now_us + delay_us, callback, args, context, lane)

    def call_after_us(self, delay_us: int, callback: Callable[..., object], *args: Any) -> Handle:
        """For the simulated world itself (network, disks): fires in the world's lane, which is never held."""
        when_us = self.now_us + delay_us if delay_us > 0 else self.now_us
        return self._call_at_us(when_us, callback, args, self.world.context, self.world)

    def _call_at_us(
        self, when_us: int, callback: Callable[..., object], args: tuple[Any, ...], context: Context, lane: Lane
    ) -> Handle:
        handle = Handle(callback, args, context, lane)
        if lane.dead:
            handle.cancel()
            return handle
        self._timer_number += 1
        order = (self._random.getrandbits(20) << 44) | self._timer_number  # ties: by the seed
        heappush(self._timers, (when_us, order, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when they come up."""

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> Task[T]:
        lane = (LANE.get() if context is None else context.get(LANE)) or self.world
        if lane.dead:
            coro.close()
            raise NodeCrashed(f"{lane.name} is dead")
        self._task_number += 1
        number = self._task_number
        task = Task(
            coro, lane=lane, number=number, loop=self, name=name or f"{lane.name}/{number}", context=context, **options
        )
        if len(lane.tasks) >= lane.tasks_prune_at:
            lane.tasks = [known for known in lane.tasks if not known.done()]
            lane.tasks_prune_at = max(64, 2 * len(lane.tasks))
        lane.tasks.append(task)
        return task

    get_debug = staticmethod(bool)  # never: every future and every handle asks, and this one answers without a frame

    # --- running -----------------------------------------------------------------------------------------------------

    def run_until_complete(self, future: Awaitable[T] | Generator[Any, None, T]) -> T:
        """Run to the end of `future`, with the collector at fixed points only."""
        enabled = gc.isenabled()
        gc.disable()
        try:
            return super().run_until_complete(future)
        finally:
            if enabled:
                gc.enable()

    def shutdown(self, before_killing: Callable[[], None] = lambda: None) -> None:
        """Kill every lane and what is left of the world's tasks, then close. Failed tasks that nobody ever asked are
        reported first."""
        for lane in self._lanes:
            self.report_forgotten(lane)
        before_killing()
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(self)  # what dies may ask for its loop, and must not be given another one
        try:
            self._kill_everything()
        finally:
            asyncio._set_running_loop(running)
        self.world.tasks.clear()
        self._timers.clear()
        self._generator_lanes.clear()
        self.close()

    def _kill_everything(self) -> None:
        for lane in self._lanes:
            if lane is not self.world:
                self.kill(lane)
        self.world.dead = True
        self._withdraw(self.world)
        self.world.ready.clear()
        for task in self.world.tasks:
            if not task.done():
                self._abandon(task)

    def report_forgotten(self, lane: Lane) -> None:
        """Report tasks of the lane that failed, whose errors nobody has asked for."""
        if lane.ready or lane.paused:
            return  # who would have asked may just not have had its turn
        for task in lane.tasks:
            if task.done() and task._log_traceback:
                task._log_traceback = False
                self._report(lane, f"nobody asked how {task.get_name()} ended", task.exception())

    def describe_tasks(self) -> str:
        """Every pending task and where it stands, one a line."""
        lines = [f"at {self.now_us / 1e6:.6f} s, pending tasks:"]
        for lane in self._lanes:
            lines += [f"  {lane.name}: {_describe(task)}" for task in lane.tasks if not task.done()]
        return "\n".join(lines)

    # --- what happened -----------------------------------------------------------------------------------------------

    def trace(self, kind: str, *details: object) -> None:
        """Record one event. `details` must read the same in every run: no addresses, no order of a set."""
        line = f"{self.now_us / 1e6:.6f} {self.lane.name} {kind} {' '.join(map(str, details))}"
        self._digest.update(line.encode("utf-8", "backslashreplace"))
        self._trace.append(line)
        if self.on_trace is not None:
            self.on_trace(self.now_us, kind, details)

    def trace_lines(self) -> list[str]:
        """The last lines of the trace, or all of them with `keep_trace`."""
        return list(self._trace)

    def trace_hash(self) -> str:
        digest = self._digest.copy()
        digest.update(f"{self._turns}/{self.now_us}".encode())
        return digest.hexdigest()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        owner = context.get("task") or context.get("future")
        if isinstance(owner, asyncio.Future) and not isinstance(owner, Task):
            return  # a plain future knows no lane, and one whose waiter was killed is nobody's fault
        lane = owner.lane if isinstance(owner, Task) else self.lane
        error = context.get("exception")
        if lane.dead or isinstance(error, NodeCrashed):
            return
        self._report(lane, f"{context.get('message', '')} {owner!r}", error)

    def _report(self, lane: Lane, message: str, error: BaseException | None) -> None:
        self.failures.append(f"{self.now_us / 1e6:.6f} {lane.name}: {message}: {error!r}{_traceback(error)}")
        if self.on_failure is not None:
            self.on_failure()

    # --- asynchronous generators that were left unfinished ---------------------------------------------------------

    def _asyncgen_firstiter_hook(self, generator: Any) -> None:
        self._generator_lanes[id(generator)] = self.lane  # replay: a key that is only looked up, never ordered

    def _asyncgen_finalizer_hook(self, generator: Any) -> None:
        lane = self._generator_lanes.pop(id(generator), self.world)  # replay: looked up, never ordered
        if not lane.dead and not self.is_closed():
            context = lane.context.copy()
            self.call_soon(context.run, self._close_generator, generator, context=context.copy())

    def _close_generator(self, generator: Any) -> None:
        self.create_task(generator.aclose())  # made here: where the lane dies before, nobody would await it

    # --- refused -----------------------------------------------------------------------------------------------------

    def _process_events(self, event_list: object) -> None:
        """There is no selector."""

    def _write_to_self(self) -> None:
        """Nobody else could be woken."""


def _refusal(name: str) -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise Refused(f"loop.{name} is not to be had in the simulation; go through a port (kraftpy.runtime.ports)")

    return refuse


_REFUSED_NAMES = """
    run_in_executor set_default_executor getaddrinfo getnameinfo create_connection create_server sendfile start_tls
    create_unix_connection create_unix_server connect_accepted_socket create_datagram_endpoint connect_read_pipe
    connect_write_pipe subprocess_shell subprocess_exec add_reader remove_reader add_writer remove_writer sock_recv
    sock_recv_into sock_recvfrom sock_recvfrom_into sock_sendall sock_sendto sock_connect sock_accept sock_sendfile
    add_signal_handler remove_signal_handler
"""
for _name in _REFUSED_NAMES.split():
    setattr(Loop, _name, _refusal(_name))


def _unwind(coroutine: Any) -> None:
    """Raise in it where it waits; it returns from here where it waits again while it dies (in a `finally`, say).

    `close` would give up then, and leave what it had awaited to complain when it is collected.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of coroutines that it was given and had not begun
        coroutine.throw(NodeCrashed("its process is gone"))


def _describe(task: "Task[Any]") -> str:
    stack = task.get_stack(limit=1)
    where = f" at {stack[0].f_code.co_filename}:{stack[0].f_lineno}" if stack else ""
    return f"{task.get_name()} {getattr(task.get_coro(), '__qualname__', '?')}{where}"


def _traceback(error: BaseException | None) -> str:
    lines = []
    trace = None if error is None else error.__traceback__
    while trace is not None:
        lines.append(f"\n    {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno} {trace.tb_frame.f_code.co_name}")
        trace = trace.tb_next
    return "".join(lines[-8:])
