"""The SDK's thread: one event loop a process, on which all blocking clients live.

It starts with the first client and ends with the last. uvloop is used where it is installed. The thread is a daemon, so
a program that forgets to close a client can still end.

Invariants: `_shared` is None or has `users > 0`; a loop thread is never used in a process other than the one that made
it (a fork copies the object, not the thread).
"""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from kraftpy.errors import ClosedError, ConcurrentUseError

T = TypeVar("T")

FINISH_S = 0.5  # for what is ending when the last client is closed

_guard = threading.Lock()
_shared: "LoopThread | None" = None
_here = threading.local()


class LoopThread:
    """An event loop on a thread of its own. Use `acquire` and `release`."""

    def __init__(self) -> None:
        self.users = 0
        self.loop = _new_loop()
        self._process_id = os.getpid()
        self._thread = threading.Thread(target=self._run, name="kraftpy", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and wait for it. Ctrl-C interrupts the wait and cancels the work."""
        try:
            self.check()
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ClosedError("the client was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def post(self, call: Callable[[], object]) -> None:
        """Run `call` on the loop soon."""
        self.loop.call_soon_threadsafe(call)

    def check(self) -> None:
        """Raise where waiting for the loop could never end: on the loop itself, or in a forked process."""
        if self.is_here():
            raise ConcurrentUseError("a blocking call inside a callback would stop the SDK's own thread")
        if os.getpid() != self._process_id:
            raise ClosedError("this client was made before a fork; make one in each process")

    def is_here(self) -> bool:
        """Whether the caller runs on the SDK's thread."""
        return threading.get_ident() == self._thread.ident

    def stop(self) -> None:
        if os.getpid() != self._process_id:
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_here():
            self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        _here.is_loop_thread = True
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(_finish())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()


def is_loop_thread() -> bool:
    """Whether the caller is a callback on a loop thread, where nothing may block."""
    return getattr(_here, "is_loop_thread", False)


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
    """Let what is ending end: gRPC still hears of calls that were cancelled, and a closed loop could not listen."""
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if tasks:
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
    global _guard, _shared
    _guard = threading.Lock()
    _shared = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
