"""The newest offset of each key, in bounded memory whatever the keys are.

A key of up to 19 bytes stands for itself, a longer one as a digest of 20 bytes (BLAKE2b); so no two kinds are ever
mixed up, and two long keys only if 160 bits of a digest agree.
"""

from hashlib import blake2b

DIGEST_BYTES = 20

ENTRY_BYTES = 250
"""What one entry takes at worst in CPython: 56 for the name, 32 for the offset, and its share of the table (37 to 74),
which is there twice while it grows."""


def name_of(key: bytes) -> bytes:
    """What stands for `key` in the map."""
    return key if len(key) < DIGEST_BYTES else blake2b(key, digest_size=DIGEST_BYTES).digest()


class OffsetMap:
    """Filled in the order of offsets. `len(self) <= entries_max`."""

    __slots__ = ("entries_max", "offsets")

    def __init__(self, bytes_max: int) -> None:
        self.entries_max = max(1, bytes_max // ENTRY_BYTES)
        self.offsets: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def share(self) -> float:
        """How full it is, between 0 and 1."""
        return len(self.offsets) / self.entries_max

    def put(self, key: bytes, offset: int) -> bool:
        """Note a newer record of `key`; false, and nothing is noted, where the key is new and the map is full."""
        name, offsets = name_of(key), self.offsets
        if len(offsets) >= self.entries_max and name not in offsets:
            return False
        offsets[name] = offset
        return True

    def newest(self, key: bytes) -> int:
        """The newest offset that is known of `key`; -1: none."""
        return self.offsets.get(name_of(key), -1)
