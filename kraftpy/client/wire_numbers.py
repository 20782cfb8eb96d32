"""Numbers that no message can carry: refused by Kafka's name, not in the words of protobuf."""

from collections.abc import Iterator
from contextlib import contextmanager

from kraftpy.errors import ConfigurationError, InvalidRequestError

TIMEOUT_MAX_S = 2_147_483
"""The longest time of a call: what fits, as ms, into 32 bits. 24 days."""


@contextmanager
def wire_numbers() -> Iterator[None]:
    """Around what fills a request in. Raises `InvalidRequestError` where a number does not fit its field."""
    try:
        yield
    except ValueError as error:
        raise InvalidRequestError(f"{error}: ids and counts have 32 bits, offsets and times 64") from None


def milliseconds(timeout: float) -> int:
    """The time of a call, which is given in seconds. Raises `ConfigurationError` where no request could carry it."""
    if not timeout <= TIMEOUT_MAX_S:  # so that it is said of NaN, too
        raise ConfigurationError(f"a call's timeout is at most {TIMEOUT_MAX_S} seconds, not {timeout}")
    return round(max(timeout, 0.0) * 1_000)
