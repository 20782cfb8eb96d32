"""Ids as people read them."""

from base64 import urlsafe_b64encode


def shown_id(raw: bytes) -> str:
    """A UUID as Kafka writes it: URL-safe base64 without padding."""
    return urlsafe_b64encode(raw).decode().rstrip("=")
