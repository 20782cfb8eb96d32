"""What a topic may be called: Kafka's rules, and not as the quorum's own log."""

from kraftpy import topic_names
from kraftpy.errors import InvalidTopicError
from log_store.file_names import QUORUM_TOPIC


def check_topic_name(name: str) -> None:
    """Raises `InvalidTopicError`, which says what is wrong."""
    if name == QUORUM_TOPIC:
        raise InvalidTopicError(f"{name} is the quorum's own log, and no topic")
    topic_names.check_topic_name(name)


def is_topic_name(name: str) -> bool:
    """Whether a topic could have it."""
    try:
        check_topic_name(name)
    except InvalidTopicError:
        return False
    return True
