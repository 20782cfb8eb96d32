"""What a topic may be called (Kafka's rules: they keep names usable as directories and in metrics).

Clients refuse other names themselves: what no request can hold would spoil every request that it is in.
"""

import re
from typing import Any, Final

from kraftpy.errors import InvalidTopicError

NAME_LENGTH_MAX: Final = 249  # with "-" and a partition's number it must fit into a directory's name
_LEGAL: Final = re.compile(r"[a-zA-Z0-9._-]+")


def check_topic_name(name: Any) -> None:
    """Raises `InvalidTopicError`, which says what is wrong."""
    if not isinstance(name, str):
        raise InvalidTopicError(f"a topic's name is str, not {type(name).__name__}")
    if not name:
        raise InvalidTopicError("a topic needs a name")
    if name in (".", ".."):
        raise InvalidTopicError(f'a topic cannot be called "{name}"')
    if len(name) > NAME_LENGTH_MAX:
        raise InvalidTopicError(f"a topic's name has at most {NAME_LENGTH_MAX} characters, not {len(name)}")
    if not _LEGAL.fullmatch(name):
        shown = name[:60].encode(errors="backslashreplace").decode()
        raise InvalidTopicError(f'"{shown}" has other characters than a-z, A-Z, 0-9, ".", "_" and "-"')
