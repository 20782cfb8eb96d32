"""Syncs of files that the kernel carries out by itself: Linux's asynchronous I/O (io_submit(2), `IOCB_CMD_FDSYNC`).

A sync on a thread costs the process two switches of threads and two waits for the interpreter's lock, which a busy loop
gives away every 5 ms at the latest; that is twice what the sync itself takes on a fast disk. Here it is one call that
never blocks, and its end is an event of the loop.

Linux has it since 4.18; the system calls have no function in libc, so they are called by their numbers. Where one of
them is missing or forbidden, `begin` takes nothing, and whoever asked syncs on a thread.
"""

import asyncio
import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

SYNCS_MAX = 128
"""So many are begun, or taken, at a time. The kernel may have room for more of them, and the system has room for 65,536
of all processes (fs.aio-max-nr)."""

_BLOCK = struct.Struct("<QIiHhiQQqQII")  # struct iocb of linux/aio_abi.h, little endian
_EVENT = struct.Struct("<QQqq")  # struct io_event: data, iocb, result, 0
_FDSYNC = 3  # IOCB_CMD_FDSYNC: as fdatasync(2)
_TELL_EVENTFD = 1  # IOCB_FLAG_RESFD
_MISSING = frozenset({errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP})


class _Calls(NamedTuple):
    """Numbers of system calls."""

    setup: int
    destroy: int
    get_events: int
    submit: int


_GENERIC = _Calls(setup=0, destroy=1, get_events=4, submit=2)  # asm-generic/unistd.h
CALLS_OF = {"x86_64": _Calls(setup=206, destroy=207, get_events=208, submit=209), "aarch64": _GENERIC}
"""By `platform.machine()`, of processes with 64 bits."""


class KernelSyncs:
    """Those of one event loop."""

    __slots__ = (
        "_blocks",
        "_context",
        "_destroy",
        "_eventfd",
        "_events",
        "_get_events",
        "_pointers",
        "_submit",
        "_syscall",
        "_under_way",
        "loop",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raises `OSError` where the system does not have it."""
        calls = CALLS_OF.get(platform.machine())
        if sys.platform != "linux" or calls is None or struct.calcsize("P") != 8:
            raise OSError(errno.ENOSYS, "asynchronous syncs are not known for this machine")
        self.loop = loop
        self._submit, self._get_events = ctypes.c_long(calls.submit), ctypes.c_long(calls.get_events)
        self._destroy = ctypes.c_long(calls.destroy)
        # PyDLL keeps the interpreter's lock: nothing that is called here blocks, but for `close`.
        self._syscall = ctypes.PyDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        if self._syscall(ctypes.c_long(calls.setup), ctypes.c_long(SYNCS_MAX), ctypes.byref(self._context)) != 0:
            raise _failure()
        self._blocks = ctypes.create_string_buffer(SYNCS_MAX * _BLOCK.size)
        self._events = ctypes.create_string_buffer(SYNCS_MAX * _EVENT.size)
        first = ctypes.addressof(self._blocks)
        places = (first + at * _BLOCK.size for at in range(SYNCS_MAX))
        self._pointers = (ctypes.c_void_p * SYNCS_MAX)(*places)
        self._under_way: dict[int, _Group] = {}
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        loop.add_reader(self._eventfd, self._ended)

    def begin(self, descriptors: Sequence[int]) -> "tuple[int, asyncio.Future[int]]":
        """Begin to sync these files: how many of them the kernel has taken, from the first on, and what comes of those:
        the number of the first error, or 0 once all are durable.

        Files may be closed as soon as it has taken them. Raises `OSError` where it will never take any.
        """
        group = _Group(self.loop.create_future())
        number = id(group)
        count = min(len(descriptors), SYNCS_MAX)
        for at in range(count):
            _BLOCK.pack_into(
                self._blocks,
                at * _BLOCK.size,
                *(number, 0, 0, _FDSYNC, 0, descriptors[at], 0, 0, 0, 0, _TELL_EVENTFD, self._eventfd),
            )
        taken = self._syscall(self._submit, self._context, ctypes.c_long(count), self._pointers)
        if taken <= 0:
            failure = _failure()
            if taken < 0 and failure.errno in _MISSING:
                raise failure
            return 0, group.done
        group.left = taken
        self._under_way[number] = group
        return taken, group.done

    def close(self) -> None:
        """Wait for what is under way, and let everything go."""
        while self._under_way:
            self._take_events(1)
        self._syscall(self._destroy, self._context)
        if not self.loop.is_closed():
            self.loop.remove_reader(self._eventfd)
        os.close(self._eventfd)

    def _ended(self) -> None:
        os.eventfd_read(self._eventfd)
        self._take_events(0)

    def _take_events(self, least: int) -> None:
        """All that are there, after waiting for `least`. The kernel has room for more than `SYNCS_MAX`, and does not
        ring again for what is left."""
        while self._take_some(least) == SYNCS_MAX:
            least = 0

    def _take_some(self, least: int) -> int:
        """How many it were."""
        wanted = (ctypes.c_long(least), ctypes.c_long(SYNCS_MAX))
        count: int = self._syscall(self._get_events, self._context, *wanted, self._events, None)
        if count < 0 and ctypes.get_errno() != errno.EINTR:
            raise _failure()
        for at in range(count):
            number, _, result, _ = _EVENT.unpack_from(self._events, at * _EVENT.size)
            group = self._under_way[number]
            if group.one_ended(-result):
                del self._under_way[number]
                if not group.done.done() and not self.loop.is_closed():
                    group.done.set_result(group.error)
        return count


class _Group:
    """Files that are synced together."""

    __slots__ = ("done", "error", "left")

    def __init__(self, done: "asyncio.Future[int]") -> None:
        self.done = done
        self.left = 0
        self.error = 0  # the first one

    def one_ended(self, error: int) -> bool:
        """One of them is done, with this error's number or 0. Whether it was the last."""
        self.left -= 1
        self.error = self.error or error
        return self.left == 0


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
