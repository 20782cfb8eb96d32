"""What is written: values that look like data, the same for a seed anywhere.

A share of each value is words, which compress well, the rest random bytes, which do not. There is a pool of them, more
than any batch holds, so that no codec finds a value twice in a batch; records take turns.
"""

import struct
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

POOL_BYTES_MIN = 4 << 20
POOL_VALUES_MIN = 16
POOL_VALUES_MAX = 100_000
TEXT_WORDS = 10_000  # drawn at a time
WORDS = (
    "account amount basket browser campaign cancelled category checkout clicked confirmed country created currency "
    "customer delivered device discount email event failed first from invoice item language last location login mobile "
    "name number order paid page partner password payment pending price product purchase quantity receipt referrer "
    "refund region return search section seller session shipped status stock store street supplier tablet tax time "
    "total updated user value version visited voucher warehouse website weight"
).split()

STAMP = struct.Struct(">Qq")
"""A run's id, and the record's number in it; -1 stands for one that only warms up."""


def values_of(seed: int, size: int, compressible: float) -> Sequence[bytes]:
    """The pool: values of exactly `size` bytes, `compressible` (0 to 1) of each being words."""
    random = Random(seed)
    count = min(max(-(-POOL_BYTES_MIN // max(size, 1)), POOL_VALUES_MIN), POOL_VALUES_MAX)
    words = round(size * compressible)
    noise = size - words
    text = _text(random, count * words)
    rest = random.randbytes(count * noise)
    return [text[at * words : (at + 1) * words] + rest[at * noise : (at + 1) * noise] for at in range(count)]


def _text(random: Random, size: int) -> bytes:
    """So many bytes of words."""
    shortest = min(map(len, WORDS)) + 1
    pieces: list[bytes] = []
    length = 0
    while length < size:
        piece = " ".join(random.choices(WORDS, k=min((size - length) // shortest + 1, TEXT_WORDS))).encode() + b" "
        pieces.append(piece)
        length += len(piece)
    return b"".join(pieces)[:size]


class Stamped(NamedTuple):
    """What stands at the beginning of a value."""

    run_id: int
    number: int


def stamped(run_id: int, index: int, value: bytes) -> bytes:
    """`value` with a stamp in place of its first bytes; it must be long enough."""
    assert len(value) >= STAMP.size
    return STAMP.pack(run_id, index) + value[STAMP.size :]


def stamp_in(value: bytes | None) -> Stamped | None:
    """The stamp of a value that was read; None where it is too short to have one."""
    if value is None or len(value) < STAMP.size:
        return None
    return Stamped(*STAMP.unpack_from(value))
