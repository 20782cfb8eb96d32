"""A door without a cluster: records are told when the test says so, and stalls last as long as it likes."""

import threading
from collections.abc import Callable

from cli.bench.door import Told
from kraftpy.client.values import Headers
from kraftpy.errors import ClosedError, KraftpyError


class FakeSender:
    """`handle` is called for each record, on the sending thread: it answers, stalls or raises."""

    def __init__(self, told: Told, handle: Callable[["FakeSender", int], None]) -> None:
        self.told = told
        self.under_way: dict[int, bytes] = {}
        self.sent: list[int] = []
        self.values: list[bytes] = []
        self.closed = False
        self._handle = handle

    def send(self, tag: int, value: bytes, key: bytes | None, headers: Headers | None, partition: int | None) -> None:
        self.sent.append(tag)
        self.values.append(value)
        self.under_way[tag] = value
        self._handle(self, tag)

    def answer(self, tag: int, error: KraftpyError | None = None, partition: int = 0) -> None:
        self.under_way.pop(tag, None)  # without a schedule two records may have one tag
        self.told(tag, partition, error)

    def flush(self, timeout: float) -> None:
        threading.Event().wait(min(timeout, 0.01))

    def close(self) -> None:
        self.closed = True
        for tag in list(self.under_way):
            self.answer(tag, ClosedError())


class FakeDoor:
    """Has a sender only."""

    def __init__(self, handle: Callable[[FakeSender, int], None] = FakeSender.answer) -> None:
        self._handle = handle

    def sender(self, topic: str, settings: object, told: Told) -> FakeSender:
        self.made = FakeSender(told, self._handle)
        return self.made
