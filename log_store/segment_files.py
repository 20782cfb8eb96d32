"""The names of a segment's files."""

from typing import NamedTuple

from log_store import file_names


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
