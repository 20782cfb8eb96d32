"""The SDK's thread: one event loop a process, on which all blocking clients live.

It starts with the first client and ends with the last. uvloop is used where it is installed. The thread is a daemon, so
a program that forgets to close a client can still end.

Nothing but `release` ends the loop: what a callback raises, `sys.exit()` as well, is logged, and the loop goes on for
all the other clients.

Invariants: `_shared` is None or has `users > 0`; a loop thread is never used in a process other than the one that made
it (a fork copies the object, not the thread).
"""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

from kraftpy.client.waiting import Waiter
from kraftpy.errors import ClosedError, ConcurrentUseError
from kraftpy.runtime.standard_descriptors import open_standard_descriptors

P = ParamSpec("P")
T = TypeVar("T")

FORKED = (
    "this client was made before a fork, and belongs to the process that made it: use clients after forking only, or "
    "start processes by multiprocessing's spawn or forkserver"
)
CLOSED_MEANWHILE = "the client was closed meanwhile"
FINISH_S = 0.5  # for what is ending when the last client is closed

_log = logging.getLogger(__name__)

_guard = threading.RLock()  # a handler of a signal may make or close a client while its thread does
_shared: "LoopThread | None" = None
_here = threading.local()


class SharedLock(AbstractContextManager[Any], Protocol):
    """A lock that the loop takes, too, and the program's threads for moments. It tells whether this thread has it."""

    def _is_owned(self) -> bool: ...


def shared_lock() -> SharedLock:
    return cast("SharedLock", threading.RLock())


def refuse_inside(lock: SharedLock) -> None:
    """Raises `ConcurrentUseError` where the calling thread holds `lock`: it has been called inside of itself."""
    if lock._is_owned():
        raise ConcurrentUseError(
            "called inside of send(), by a handler of a signal or a partitioner, where waiting would never end: "
            "set a flag there, and act on it in the program"
        )


class LoopThread:
    """An event loop on a thread of its own. Use `acquire` and `release`."""

    def __init__(self) -> None:
        self.users = 0
        open_standard_descriptors()
        self.loop = _new_loop()
        self._process_id = os.getpid()
        self._is_stopping = False
        self._locks: list[SharedLock] = []
        self._works: set[_Work[Any]] = set()  # whose callers nobody has woken yet
        self._thread = threading.Thread(target=self._run, name="kraftpy", daemon=True)
        self._thread.start()

    def run(self, work: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **keywords: P.kwargs) -> T:
        """Run `work(*args)` on the loop and wait for it.

        Ctrl-C interrupts the wait and cancels the work, though not before its first step: it can rely on its `finally`.
        """
        self.check()
        running = _Work(partial(work, *args, **keywords), self._works)
        try:
            self.loop.call_soon_threadsafe(running.begin)
            running.ended.wait()
        except BaseException as error:
            self.post(running.cancel)  # after its beginning, or it never begins
            if isinstance(error, RuntimeError) and self.loop.is_closed():
                raise ClosedError(CLOSED_MEANWHILE) from None
            raise
        return running.result()

    def post(self, call: Callable[[], object]) -> None:
        """Run `call` on the loop soon; not at all where a handler of a signal has closed the last client meanwhile."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(call)

    def check(self) -> None:
        """Raise where waiting for the loop could never end: on the loop itself, in a forked process, or where this very
        thread holds what the loop waits for, and is in a handler of a signal."""
        if self.is_here():
            raise ConcurrentUseError("a blocking call inside a callback would stop the SDK's own thread")
        if os.getpid() != self._process_id:
            raise ClosedError(FORKED)
        for lock in tuple(self._locks):
            refuse_inside(lock)

    def share(self, lock: SharedLock) -> None:
        """From now on nobody waits for the loop who has this lock."""
        self._locks.append(lock)

    def unshare(self, lock: SharedLock) -> None:
        self._locks.remove(lock)

    def is_here(self) -> bool:
        """Whether the caller runs on the SDK's thread."""
        return threading.get_ident() == self._thread.ident

    def stop(self) -> None:
        if os.getpid() != self._process_id:
            return
        self._is_stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_here():
            self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        _here.is_loop_thread = True
        try:
            while not self._is_stopping:
                self._run_on()
            self.loop.run_until_complete(_finish())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()
            for work in tuple(self._works):
                work.ended.wake()

    def _run_on(self) -> None:
        try:
            self.loop.run_forever()
        except BaseException:  # this thread is no program's: whoever waits here would wait for ever
            _log.exception("something was to end the SDK's thread, which goes on")


class _Work(Generic[T]):
    """What one call of `run` lets the loop do. It exists on the loop alone: a coroutine that is made by an interrupted
    thread would never be awaited."""

    __slots__ = ("_make", "_task", "_unended", "ended")

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]], unended: "set[_Work[Any]]") -> None:
        """It stands in `unended` until it has ended."""
        self.ended = Waiter()
        self._make = make
        self._task: asyncio.Task[T] | None = None
        self._unended = unended
        unended.add(self)

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._carry_out())
        self._task.add_done_callback(self._end)

    async def _carry_out(self) -> T:
        return await self._make()

    def _end(self, task: "asyncio.Task[T]") -> None:
        if not task.cancelled():
            task.exception()  # nobody may be there any more who asks for it
        self._unended.discard(self)
        self.ended.wake()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.get_loop().call_soon(self._task.cancel)  # behind its first step, or it never takes one

    def result(self) -> T:
        """Of what has ended, perhaps with the loop. Raises what it raised."""
        task = self._task
        if task is None or not task.done() or task.cancelled():
            raise ClosedError(CLOSED_MEANWHILE)
        return task.result()


def is_loop_thread() -> bool:
    """Whether the caller is a callback on a loop thread, where nothing may block."""
    return getattr(_here, "is_loop_thread", False)


def check_waiting() -> None:
    """As `LoopThread.check`, for who waits for what the loop does without asking it."""
    thread = _shared
    if thread is not None:
        thread.check()


def ends_program(error: BaseException) -> bool:
    """Whether what a user's callback raised goes through: sys.exit() and Ctrl-C on a program's own loop, and nothing
    else. On the SDK's thread they would end a program no more than any other exception."""
    return isinstance(error, KeyboardInterrupt | SystemExit) and not is_loop_thread()


def acquire() -> LoopThread:
    """The process's loop thread, started if need be."""
    global _shared
    with _guard:
        if _shared is None:
            _shared = LoopThread()
        _shared.users += 1
        return _shared


def release(thread: LoopThread) -> None:
    """One client less; the last one ends the thread."""
    global _shared
    with _guard:
        thread.users -= 1
        last = thread.users == 0
        if last and _shared is thread:
            _shared = None
    if last:
        thread.stop()


async def _finish() -> None:
    """Let what is ending end: gRPC still hears of calls that were cancelled, and a closed loop could not listen.

    And what begins meanwhile, because another thread calls.
    """
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        _, late = await asyncio.wait(tasks, timeout=FINISH_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _forget_after_fork() -> None:
    global _guard, _here, _shared
    _guard = threading.RLock()
    _here = threading.local()
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
