"""Which offsets are committed next. Pure.

Commits are sent one at a time, in the order in which they were asked for; what has gathered while one was under way
goes in one request, where of each partition only the newest word counts. So an older commit never overwrites a newer
one, also when it has to be repeated: whatever was asked meanwhile goes with it and wins.

What waits for a partition that is given up is not sent any more: others commit it then, and the member's next
generation, which would vouch for it, knows nothing of it. What is under way is the coordinator's to judge, by the
generation that it names; it is not repeated.

Invariant: `_waiting` holds commits in the order of asking; those in `_under_way` are older than all of them.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
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
    wanted: dict[TopicPartition, OffsetAndMetadata] = field(init=False)
    """What is still to be sent."""
    error: KraftpyError | None = None
    """Why that is less than was asked for."""

    def __post_init__(self) -> None:
        self.wanted = dict(self.offsets)

    def leave_out(self, given_up: Mapping[TopicPartition, KraftpyError]) -> bool:
        """Whether anything is left without these."""
        for place in [place for place in self.wanted if place in given_up]:
            del self.wanted[place]
            self.error = given_up[place]
        return bool(self.wanted)


class CommitQueue:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._waiting: deque[Commit] = deque()
        self._under_way: list[Commit] = []
        self._given_up: dict[TopicPartition, KraftpyError] = {}  # since what is under way was begun

    @property
    def is_empty(self) -> bool:
        return not self._waiting and not self._under_way

    def add(self, commit: Commit) -> None:
        self._waiting.append(commit)

    def begin(self) -> dict[TopicPartition, OffsetAndMetadata] | None:
        """Take all that wait; what to send, perhaps nothing. None while a request is under way, or nobody waits."""
        if self._under_way or not self._waiting:
            return None
        self._under_way = list(self._waiting)
        self._waiting.clear()
        self._given_up.clear()
        merged: dict[TopicPartition, OffsetAndMetadata] = {}
        for commit in self._under_way:
            merged.update(commit.wanted)
        return merged

    def give_up(
        self, places: Collection[TopicPartition], error: KraftpyError
    ) -> list[tuple[Commit, KraftpyError | None]]:
        """These partitions are read no more. Commits of which nothing is left, and what to tell."""
        given_up = dict.fromkeys(places, error)
        self._given_up.update(given_up)
        waiting, self._waiting = self._waiting, deque()
        return self._wait_again(waiting, given_up)

    def given_up(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, KraftpyError]:
        """Those of a request under way that have been given up since it was begun, and why."""
        return {place: self._given_up[place] for place in places if place in self._given_up}

    def _wait_again(
        self, commits: Iterable[Commit], given_up: Mapping[TopicPartition, KraftpyError]
    ) -> list[tuple[Commit, KraftpyError | None]]:
        """Before all others. Gives those of which nothing is left without what was given up."""
        over: list[Commit] = []
        left: list[Commit] = []
        for commit in commits:
            (left if commit.leave_out(given_up) else over).append(commit)
        self._waiting.extendleft(reversed(left))
        return [(commit, commit.error) for commit in over]

    def succeeded(
        self,
        refusals: Mapping[TopicPartition, KraftpyError],
        again: Collection[TopicPartition] = (),
        now_ms: int = 0,
    ) -> list[tuple[Commit, KraftpyError | None]]:
        """The request was answered, perhaps with refusals of some partitions; whom to tell what.

        What was refused for now (`again`) waits again where it may still be repeated, and the rest of its commit is
        done.
        """
        commits, self._under_way = self._under_way, []
        over: list[Commit] = []
        left: list[Commit] = []
        for commit in commits:
            is_early = now_ms < commit.due_ms
            repeated = {place: offset for place, offset in commit.wanted.items() if is_early and place in again}
            refused = [refusals[place] for place in commit.wanted if place in refusals and place not in repeated]
            commit.error = commit.error or next(iter(refused), None)
            commit.wanted = repeated
            (left if repeated else over).append(commit)
        return [*((commit, commit.error) for commit in over), *self._wait_again(left, self._given_up)]

    def failed(self, error: KraftpyError, now_ms: int) -> list[tuple[Commit, KraftpyError | None]]:
        """The request was refused. Whoever may still be repeated waits again, before all others; whom to tell."""
        commits, self._under_way = self._under_way, []
        over = [commit for commit in commits if not error.retriable or now_ms >= commit.due_ms]
        again = [commit for commit in commits if commit not in over]
        return [*((commit, error) for commit in over), *self._wait_again(again, self._given_up)]

    def close(self) -> list[Commit]:
        """All that are not done."""
        commits = [*self._under_way, *self._waiting]
        self._under_way = []
        self._waiting.clear()
        return commits
