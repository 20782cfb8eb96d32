"""What a topic may be called (Kafka's rules: they keep names usable as directories and in metrics)."""

import re
from typing import Final

from kraftpy.errors import InvalidTopicError
from log_store.file_names import QUORUM_LOG

QUORUM_TOPIC: Final = QUORUM_LOG.removesuffix("-0")
NAME_LENGTH_MAX: Final = 249  # with "-" and a partition's number it must fit into a directory's name
_LEGAL: Final = re.compile(r"[a-zA-Z0-9._-]+")


def check_topic_name(name: str) -> None:
    """Raises `InvalidTopicError`, which says what is wrong."""
    if not name:
        raise InvalidTopicError("a topic needs a name")
    if name in (".", ".."):
        raise InvalidTopicError(f'a topic cannot be called "{name}"')
    if name == QUORUM_TOPIC:
        raise InvalidTopicError(f"{name} is the quorum's own log, and no topic")
    if len(name) > NAME_LENGTH_MAX:
        raise InvalidTopicError(f"a topic's name has at most {NAME_LENGTH_MAX} characters, not {len(name)}")
    if not _LEGAL.fullmatch(name):
        raise InvalidTopicError(f'"{name[:60]}" has other characters than a-z, A-Z, 0-9, ".", "_" and "-"')


def is_topic_name(name: str) -> bool:
    """Whether a topic could have it."""
    try:
        check_topic_name(name)
    except InvalidTopicError:
        return False
    return True
