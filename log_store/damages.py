"""What is known to be damaged in one log: readers are kept from it, and its replica is repaired.

Invariants: ascending, not overlapping; nothing outside of the log. Pure.
"""

from collections.abc import Iterable, Sequence

from kraftpy.errors import CorruptRecordError
from log_store.integrity import Damage


class Damages:
    """Those of one open log; false where there are none."""

    __slots__ = ("all",)

    def __init__(self) -> None:
        self.all: tuple[Damage, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    @property
    def start_offset(self) -> int:
        """Where the first begins; there must be one."""
        return self.all[0].start_offset

    def note(self, damages: Sequence[Damage]) -> bool:
        """Add what was found. False: all of it was known."""
        new = [each for each in damages if not any(_covers(old, each) for old in self.all)]
        if not new:
            return False
        old = [each for each in self.all if not any(_overlap(each, found) for found in new)]
        self.all = tuple(sorted([*old, *new]))
        return True

    def replace(self, start_offset: int, end_offset: int, damages: Sequence[Damage]) -> bool:
        """`damages` are all that there is in these offsets. False: nothing that was not known."""
        before = self.all
        outside = [each for each in before if each.end_offset <= start_offset or each.start_offset >= end_offset]
        self.all = tuple(sorted([*outside, *damages]))
        return any(each not in before for each in damages)

    def cut(self, end_offset: int) -> None:
        """The log ends there now."""
        self._keep(each for each in self.all if each.start_offset < end_offset)

    def start_at(self, start_offset: int) -> None:
        """The log's first segment begins there now."""
        self._keep(each for each in self.all if each.end_offset > start_offset)

    def readable_end(self, offset: int, end_offset: int) -> int:
        """Up to where a read from `offset` may go. Raises `CorruptRecordError` where it would begin in damage."""
        for damage in self.all:
            if damage.end_offset > offset:
                if damage.start_offset <= offset:
                    raise CorruptRecordError(f"damaged here: {damage}")
                return min(end_offset, damage.start_offset)
        return end_offset

    def _keep(self, damages: Iterable[Damage]) -> None:
        self.all = tuple(damages)


def _covers(old: Damage, new: Damage) -> bool:
    return old.start_offset <= new.start_offset and new.end_offset <= old.end_offset


def _overlap(one: Damage, other: Damage) -> bool:
    return one.start_offset < other.end_offset and other.start_offset < one.end_offset
