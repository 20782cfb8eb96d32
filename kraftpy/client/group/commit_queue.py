"""Which offsets are committed next. Pure.

Commits are sent one at a time, in the order in which they were asked for; what has gathered while one was under way
goes in one request, where of each partition only the newest word counts. So an older commit never overwrites a newer
one, also when it has to be repeated: whatever was asked meanwhile goes with it and wins.

Invariant: `_waiting` holds commits in the order of asking; those in `_under_way` are older than all of them.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kraftpy.client.values import OffsetAndMetadata, TopicPartition
from kraftpy.errors import KraftpyError

Offsets = Mapping[TopicPartition, OffsetAndMetadata]


@dataclass(slots=True, eq=False)
class Commit:
    """One call of commit."""

    offsets: Offsets
    due_ms: int
    """Until when it is repeated."""
    done: Any
    """Whom to tell, by the shell: called with None or an error."""
    error: KraftpyError | None = field(default=None)


class CommitQueue:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._waiting: deque[Commit] = deque()
        self._under_way: list[Commit] = []

    @property
    def is_empty(self) -> bool:
        return not self._waiting and not self._under_way

    def add(self, commit: Commit) -> None:
        self._waiting.append(commit)

    def begin(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """Take all that wait; what to send: nothing while a request is under way, or nobody waits."""
        if self._under_way or not self._waiting:
            return {}
        self._under_way = list(self._waiting)
        self._waiting.clear()
        merged: dict[TopicPartition, OffsetAndMetadata] = {}
        for commit in self._under_way:
            merged.update(commit.offsets)
        return merged

    def succeeded(self, refusals: Mapping[TopicPartition, KraftpyError]) -> list[tuple[Commit, KraftpyError | None]]:
        """The request was answered, perhaps with refusals of some partitions; whom to tell what."""
        done, self._under_way = self._under_way, []
        return [
            (commit, next((refusals[place] for place in commit.offsets if place in refusals), None)) for commit in done
        ]

    def failed(self, error: KraftpyError, now_ms: int) -> list[tuple[Commit, KraftpyError | None]]:
        """The request was refused. Whoever may still be repeated waits again, before all others; whom to tell."""
        commits, self._under_way = self._under_way, []
        over = [commit for commit in commits if not error.retriable or now_ms >= commit.due_ms]
        self._waiting.extendleft(reversed([commit for commit in commits if commit not in over]))
        return [(commit, error) for commit in over]

    def give_up(self) -> list[Commit]:
        """All that are not done."""
        commits = [*self._under_way, *self._waiting]
        self._under_way = []
        self._waiting.clear()
        return commits
