"""The names of a segment's files."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from log_store import file_names

T = TypeVar("T")


class SegmentFiles(NamedTuple):
    """The paths of one segment."""

    log: str
    offset_index: str
    time_index: str
    transaction_index: str

    @classmethod
    def of(cls, directory: str, base_offset: int) -> "SegmentFiles":
        suffixes = file_names.OF_SEGMENT
        return cls(*(f"{directory}/{file_names.of_offset(base_offset, suffix)}" for suffix in suffixes))


def where_it_lies(path: str, use: Callable[[str], T]) -> T:
    """`use` a segment's file at its path, or at the name that it has while compaction puts it into place.

    For whoever goes by names, beside the log. Raises `FileNotFoundError` where it is under neither.
    """
    for name in (path, path + file_names.SWAP):
        try:
            return use(name)
        except FileNotFoundError:
            continue
    return use(path)  # it may have got its name between the two
