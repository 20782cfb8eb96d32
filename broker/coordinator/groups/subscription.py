"""What a consumer of Kafka's protocol says when it joins, as far as a coordinator looks into it: its topics.

The data is opaque otherwise; it comes from a client and may be anything.
"""

from struct import error as StructError
from struct import unpack_from

CONSUMER_PROTOCOL = "consumer"
"""The protocol type whose members say what they read."""


def subscribed_topics(metadata: bytes) -> tuple[str, ...] | None:
    """The topics of a subscription (ConsumerProtocolSubscription, any version); None where it cannot be read.

    Laid out as a version (int16), then the topics: a count (int32) of texts (int16 length, UTF-8).
    """
    try:
        version, count = unpack_from(">hi", metadata)
        if version < 0 or not 0 <= count <= len(metadata) // 2:
            return None
        topics: list[str] = []
        position = 6
        for _ in range(count):
            (length,) = unpack_from(">h", metadata, position)
            end = position + 2 + length
            if length < 0 or end > len(metadata):
                return None
            topics.append(metadata[position + 2 : end].decode())
            position = end
        return tuple(topics)
    except (StructError, UnicodeDecodeError):
        return None
