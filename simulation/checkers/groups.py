"""Judges groups: who owned what when, what was handed on, and what the log says that was committed.

It works on three things. A *tenure* is the time in which one member owns one partition, from being told so to giving it
up; its program writes down what it was handed and what it committed, and marks each commit with the tenure's number.
The *log* of the groups' coordinator says which commits were taken, in their order. *Records* are what the partitions
hold. The numbers are those of the invariants in the reference:

- 17: nobody else owns a partition in the same generation at the same time (`two_owners`);
- 17: committed offsets never go back, except where they were set (`backwards`);
- 17: a tenure begins at or after everything that was acknowledged before its member was told of it (`repeated`), goes
  on without a gap (`torn`), and in the end everything was handed on (`skipped`);
- 18: once another tenure of its partition has committed, or somebody who is no member has set the offset, an earlier
  tenure commits no more (`by_a_former_owner`);
- what was acknowledged is in the log, or a newer one (`lost_commits`).

Times are microseconds of one clock.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

SET = "set"
"""The mark of a commit that is nobody's: offsets that were set on purpose."""


@dataclass(slots=True)
class Commit:
    """One, as its program saw it. `completed_us` is None where it was not acknowledged."""

    offset: int
    invoked_us: int
    completed_us: int | None = None


@dataclass(slots=True)
class Tenure:
    """See the module's docstring. A program adds to it as it goes; `ended_us` is None while it lasts."""

    number: int
    group: str
    member: str  # a static member's instance id: it may come back by another life
    place: str
    begun_us: int
    ended_us: int | None = None
    generations: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Those in which it was known to be the owner, each with the first and last time."""
    handed: list[int] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    is_marked: bool = True  # False: its commits carry no number, as the automatic ones of a client
    resumes: "Tenure | None" = None
    """The one before it, where the same member went back to an earlier record by itself."""

    @property
    def told_us(self) -> int:
        """When the member was told that it owns the partition, and where others had come to."""
        return self.begun_us if self.resumes is None else self.resumes.told_us

    def own_commits(self) -> list[Commit]:
        """Since then."""
        return self.commits if self.resumes is None else [*self.resumes.own_commits(), *self.commits]

    @property
    def mark(self) -> str:
        return str(self.number) if self.is_marked else ""

    def owns(self, generation: int, now_us: int) -> None:
        """It is the owner, in that generation, now."""
        first_us, _ = self.generations.get(generation, (now_us, now_us))
        self.generations[generation] = (first_us, now_us)


@dataclass(frozen=True, slots=True)
class Logged:
    """A committed offset as the log has it; in the order of the log."""

    group: str
    place: str
    offset: int
    mark: str


@dataclass(frozen=True, slots=True)
class GroupHistory:
    """All that is judged. `begun_anew`: groups whose generations were counted from the beginning again meanwhile, as
    the log says; in them a generation's number says nothing."""

    tenures: Sequence[Tenure]
    logged: Sequence[Logged]
    records: Mapping[str, Sequence[int]]
    """The offsets of each place's records, rising."""
    read: Mapping[str, Sequence[str]]
    """The places that each group reads to the end."""
    begun_anew: Sequence[str] = ()
    is_compacted: bool = False
    """The log may lack what a later commit of the place has outdone."""


def check_groups(history: GroupHistory) -> list[str]:
    """Sentences about what must not be; none: all is well."""
    return [
        *two_owners(history),
        *backwards(history.logged),
        *by_a_former_owner(history.logged),
        *lost_commits(history),
        *repeated(history),
        *torn(history),
        *skipped(history),
    ]


def two_owners(history: GroupHistory) -> Iterator[str]:
    """Of one generation at one time."""
    claims: dict[tuple[str, str, int], list[tuple[int, int, str]]] = {}
    for tenure in history.tenures:
        if tenure.group not in history.begun_anew:
            for generation, (first_us, last_us) in tenure.generations.items():
                key = (tenure.group, tenure.place, generation)
                claims.setdefault(key, []).append((first_us, last_us, tenure.member))
    for (group, place, generation), times in claims.items():
        times.sort()
        for number, (_, last_us, member) in enumerate(times):
            for first_us, _, other in times[number + 1 :]:
                if first_us <= last_us and other != member:
                    yield f"{member} and {other} both own {place} in generation {generation} of {group}"


def backwards(logged: Iterable[Logged]) -> Iterator[str]:
    newest: dict[tuple[str, str], Logged] = {}
    for commit in logged:
        before = newest.get((commit.group, commit.place))
        if before is not None and commit.offset < before.offset and commit.mark != SET:
            yield (
                f"{commit.group} went back on {commit.place}: {before.offset} (of {before.mark or 'nobody said'}), "
                f"then {commit.offset} (of {commit.mark or 'nobody said'})"
            )
        newest[commit.group, commit.place] = commit


def by_a_former_owner(logged: Iterable[Logged]) -> Iterator[str]:
    present: dict[tuple[str, str], str] = {}
    former: dict[tuple[str, str, str], None] = {}
    for commit in logged:
        if not commit.mark:
            continue
        key = (commit.group, commit.place)
        if (*key, commit.mark) in former and commit.mark != SET:
            yield (
                f"{commit.group} took a commit of {commit.offset} on {commit.place} from tenure {commit.mark}, which "
                f"had been followed by {present[key]} already"
            )
        elif key in present and present[key] != commit.mark:
            former[*key, present[key]] = None
        present[key] = commit.mark


def lost_commits(history: GroupHistory) -> Iterator[str]:
    """Of what was acknowledged the log has it, or a newer one of its tenure: clients leave out what is outdone."""
    newest: dict[tuple[str, str, str], int] = {}
    for each in history.logged:
        for mark in (each.mark, ""):
            key = (each.group, each.place, mark)
            newest[key] = max(each.offset, newest.get(key, 0))
    for tenure in history.tenures:
        acknowledged = [commit.offset for commit in tenure.commits if commit.completed_us is not None]
        key = (tenure.group, tenure.place, "" if history.is_compacted else tenure.mark)
        if acknowledged and max(acknowledged) > newest.get(key, -1):
            yield (
                f"{tenure.group} has lost the commit of {max(acknowledged)} on {tenure.place} of tenure {tenure.mark}"
            )


def repeated(history: GroupHistory) -> Iterator[str]:
    """Records that were handed on again although a later offset had been acknowledged. Where offsets were set on
    purpose that is as it should be. A member that goes back by itself may have lost the partition without hearing of
    it, so of others counts what was acknowledged when it was told of it."""
    are_set = {(each.group, each.place): None for each in history.logged if each.mark == SET}
    commits: dict[tuple[str, str], list[Commit]] = {}
    for tenure in history.tenures:
        commits.setdefault((tenure.group, tenure.place), []).extend(tenure.commits)
    for tenure in history.tenures:
        key = (tenure.group, tenure.place)
        if not tenure.handed or key in are_set:
            continue
        known = [*_acknowledged(commits[key], tenure.told_us), *_acknowledged(tenure.own_commits(), tenure.begun_us)]
        if known and tenure.handed[0] < max(known):
            yield (
                f"{tenure.group} handed on {tenure.handed[0]} of {tenure.place} to {tenure.member} "
                f"(tenure {tenure.number}), and had acknowledged {max(known)} before"
            )


def _acknowledged(commits: Iterable[Commit], before_us: int) -> Iterator[int]:
    return (each.offset for each in commits if each.completed_us is not None and each.completed_us < before_us)


def torn(history: GroupHistory) -> Iterator[str]:
    """Within one tenure, records follow each other as they stand in their partition."""
    for tenure in history.tenures:
        if not tenure.handed:
            continue
        offsets = history.records[tenure.place]
        begin = bisect_left(offsets, tenure.handed[0])
        if list(offsets[begin : begin + len(tenure.handed)]) != tenure.handed:
            yield (
                f"{tenure.group} handed on {tenure.handed} of {tenure.place} to {tenure.member}, "
                f"where there are {list(offsets[begin : begin + len(tenure.handed)])}"
            )


def skipped(history: GroupHistory) -> Iterator[str]:
    handed: dict[tuple[str, str], set[int]] = {}
    for tenure in history.tenures:
        handed.setdefault((tenure.group, tenure.place), set()).update(tenure.handed)
    for group, places in history.read.items():
        for place in places:
            seen = handed.get((group, place), set())
            missing = [offset for offset in history.records[place] if offset not in seen]
            if missing:
                yield f"{group} never handed on {missing[:5]} of {place}, {len(missing)} in all"
