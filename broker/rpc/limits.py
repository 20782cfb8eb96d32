"""Bounds on what one call may ask, whatever its sizes fit into."""

from kraftpy.runtime.ports import BadRequest

ITEMS_MAX = 20_000
"""Partitions or topics that one call may name; answering costs about 10 µs each."""
WAIT_MAX_MS = 10 * 60 * 1000
"""Nobody waits longer, whatever they ask: an answer with nothing in it is a sign of life."""


def check_count(count: int, what: str) -> None:
    """Raises `BadRequest` where a call names too many."""
    if count > ITEMS_MAX:
        raise BadRequest(f"{count} {what} in one call; at most {ITEMS_MAX}")
