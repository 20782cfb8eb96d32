"""What a coordinator of groups asks of the metadata: which topics there are."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol
from uuid import UUID


class KnownTopic(NamedTuple):
    name: str
    topic_id: UUID
    partition_count: int


class Topics(Protocol):
    """The newest metadata. What it says may change between two turns of a core, never within one."""

    @property
    def version(self) -> int:
        """Rises with every change."""

    def find(self, name: str) -> KnownTopic | None: ...

    def name_of(self, topic_id: UUID) -> str | None: ...

    def names(self) -> Iterable[str]:
        """All of them, in rising order."""


class NoTopics:
    """Where nothing is known."""

    version = 0

    def find(self, name: str) -> KnownTopic | None:
        return None

    def name_of(self, topic_id: UUID) -> str | None:
        return None

    def names(self) -> Iterable[str]:
        return ()
