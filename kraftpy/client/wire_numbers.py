"""Numbers that no message can carry: refused by Kafka's name, not in the words of protobuf."""

from collections.abc import Iterator
from contextlib import contextmanager

from kraftpy.errors import InvalidRequestError


@contextmanager
def wire_numbers() -> Iterator[None]:
    """Around what fills a request in. Raises `InvalidRequestError` where a number does not fit its field."""
    try:
        yield
    except ValueError as error:
        raise InvalidRequestError(f"{error}: ids and counts have 32 bits") from None
