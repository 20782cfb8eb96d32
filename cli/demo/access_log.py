"""What is published: the lines of a file, each with its first word as key. In an access log that is the client."""

from pathlib import Path
from typing import NamedTuple

from kraftpy.errors import ConfigurationError

OURS = Path(__file__).resolve().parents[1] / "data" / "apache_access.log"
INPUT_BYTES_MAX = 64 << 20  # all of it is held in memory
LINE_BYTES_MAX = 512 << 10  # a record holds at most 1 MiB by default


class Line(NamedTuple):
    key: bytes
    value: bytes


def read_lines(path: Path) -> list[Line]:
    """The lines of a file, without empty ones. Raises `ConfigurationError` where there are none, or too much."""
    size = path.stat().st_size
    if size > INPUT_BYTES_MAX:
        raise ConfigurationError(
            f"{path} has {size} bytes; the demo publishes up to {INPUT_BYTES_MAX}, again and again"
        )
    lines = [Line(text.split(None, 1)[0], text) for text in path.read_bytes().split(b"\n") if text.strip()]
    if not lines:
        raise ConfigurationError(f"{path} has no lines to publish")
    longest = max(len(line.value) for line in lines)
    if longest > LINE_BYTES_MAX:
        raise ConfigurationError(f"{path} has a line of {longest} bytes; the demo takes up to {LINE_BYTES_MAX}")
    return lines
