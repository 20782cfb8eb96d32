"""What a coordinator's core is to the shard that runs it. Pure.

    handle, tick, loaded ─→ Result(records, answers, effects)
    records: appended as one batch, then replayed one by one; answers: given once that batch is committed

Rules
- Durable state changes in `replay` only, so that a new leader who replays the log knows the same. What is soft (the
  members that wait for a rebalance, sessions) may change in `handle`: it dies with the leadership.
- A command is answered by its ticket, in the `Result` of its own `handle` or of any later one: a member that joins is
  answered when the rebalance ends. Every ticket is answered exactly once, by a response or by a `KraftpyError`; if the
  leadership ends before, the shard answers for the core, with NOT_COORDINATOR.
- A batch that the log refuses (too few replicas in sync, too large) was never replayed: `refused` is told, which gives
  the answers for it and takes soft changes back.
- An answer without records is given once everything that was appended before it is committed: it may speak of that.
"""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from kraftpy.errors import InvalidRequestError, KraftpyError

NAME_BYTES_MAX = 32_767 - 64
"""Of an id that clients choose, in UTF-8: a string in Kafka's records holds 32,767, and something may follow the id."""

Ticket = int
"""A command that waits for its answer. Numbered by the shard, never used twice by it."""

C = TypeVar("C", contravariant=True)
R = TypeVar("R")


class Moment(NamedTuple):
    """Now, by two clocks."""

    monotonic_ms: int
    """For sessions and every other time-out."""
    wall_ms: int
    """For what is written down: timestamps, and expiry that outlives a leadership."""


class Answer(NamedTuple):
    """The end of a command: what `submit` returns, or raises where it is a `KraftpyError`."""

    ticket: Ticket
    response: Any


class Producer(NamedTuple):
    """Whose transaction a batch belongs to."""

    producer_id: int
    producer_epoch: int


@dataclass(frozen=True, slots=True)
class Result(Generic[R]):
    """What a core decided. Empty where it decided nothing."""

    records: tuple[R, ...] = ()
    """In one batch: all of them, or none, are in the log."""
    answers: tuple[Answer, ...] = ()
    effects: tuple[Any, ...] = ()
    """What the shard's surroundings are to do, once the records are committed. Their outcome comes as a command."""
    producer: Producer | None = None
    """The records are a part of this producer's transaction, and count once that is committed (KIP-98)."""


def is_too_long(name: str) -> bool:
    """Whether no record has room for it."""
    return len(name) > NAME_BYTES_MAX or len(name.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX


def check_lengths(**names: str | None) -> None:
    """Raises `InvalidRequestError`. What no record has room for would refuse all that goes into a batch with it."""
    for what, name in names.items():
        if name is not None and is_too_long(name):
            raise InvalidRequestError(f"{what} is too long: {NAME_BYTES_MAX} bytes are allowed")


class BatchRoom:
    """What still fits into one batch of many: a log refuses one beyond max.message.bytes, with all that is in it."""

    def __init__(self, records_max: int, bytes_max: int) -> None:
        self._records_left = records_max
        self._bytes_left = bytes_max
        self._is_empty = True

    def take(self, *names: str, other_bytes: int = 60) -> bool:
        """A record with these names and so much besides goes in, the first one always. False: no more fit."""
        taken_bytes = other_bytes + sum(len(name.encode()) for name in names)
        if not self._is_empty and (not self._records_left or taken_bytes > self._bytes_left):
            return False
        self._is_empty = False
        self._records_left -= 1
        self._bytes_left -= taken_bytes
        return True


class Core(Protocol[C, R]):
    """One coordinator. All times that it is given never go back."""

    def replay(self, record: R, producer: Producer | None) -> None:
        """`record` stands in the log; `producer`: as part of its transaction, which has not ended yet."""

    def end_transaction(self, producer_id: int, committed: bool) -> None:
        """What was replayed of this producer's transaction counts from now on, or is dropped."""

    def loaded(self, now: Moment) -> Result[R]:
        """The whole log was replayed, and this node leads: time begins."""

    def handle(self, ticket: Ticket, command: C, now: Moment) -> Result[R]:
        """Raises `KraftpyError`, which answers `ticket`, only where nothing has changed."""

    def refused(self, result: Result[R], error: KraftpyError, now: Moment) -> Result[R]:
        """The records of `result` are not in the log and never will be; its answers were not given."""

    def next_deadline_ms(self) -> int | None:
        """By the monotonic clock: when `tick` has something to do next. None: nothing before another command."""

    def tick(self, now: Moment) -> Result[R]:
        """Do what is due."""


class RecordCodec(Protocol[R]):
    """A core's records as keys and values of a log."""

    def encode(self, record: R) -> tuple[bytes, bytes | None]:
        """Key and value; no value deletes what the key said."""

    def decode(self, key: bytes, value: bytes | None) -> R | None:
        """None: of a kind that this version does not know, and may pass over.

        Raises `CorruptRecordError` for what cannot be read.
        """
