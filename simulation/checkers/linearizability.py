"""Is a history linearizable? The search of Wing and Gong, with Lowe's memory of configurations, partitioned by key.

A history is linearizable when every completed operation can be given a moment between its invocation and its
completion so that a single copy of the object, going through the operations in the order of those moments, gives the
results that were seen. An operation of unknown outcome may take its moment any time after its invocation, or never; a
failed one never.

The search goes forward: next may come any operation that was invoked before every operation still to be placed had
completed. A configuration (the operations placed so far, and the object's state) from which nothing was found is not
entered again. The problem is NP-complete, hence the limit on steps: past it the verdict is *unknown*, never *ok*.
"""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from simulation.checkers.history import Operation, Outcome
from simulation.verdicts import Verdict

STEPS_MAX = 2_000_000


class Model(Protocol):
    """A sequential object. States are immutable and hashable."""

    @property
    def initial(self) -> Hashable: ...

    def apply(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Whether the operation could give its result in this state (of an unknown one: always), and the next state."""


@dataclass(frozen=True, slots=True)
class KeyReport:
    """`placed`: of an invalid history, the longest beginning of an order that was found."""

    key: str
    verdict: Verdict
    operations: int
    steps: int
    placed: tuple[Operation, ...] = ()
    stuck: tuple[Operation, ...] = ()  # completed ones that could not be placed after that

    def __str__(self) -> str:
        lines = [f"{self.key}: {self.verdict.value}, {self.operations} operations, {self.steps} steps"]
        if self.verdict is Verdict.INVALID:
            lines += [f"  placed  {_describe(operation)}" for operation in self.placed[-10:]]
            lines += [f"  stuck   {_describe(operation)}" for operation in self.stuck[:10]]
        return "\n".join(lines)


def check_linearizable(history: Iterable[Operation], model: Model, steps_max: int = STEPS_MAX) -> list[KeyReport]:
    """One report a key, in the order of the keys' first operations."""
    by_key: dict[str, list[Operation]] = {}
    for operation in history:
        by_key.setdefault(operation.key, []).append(operation)
    return [check_key(key, operations, model, steps_max) for key, operations in by_key.items()]


def worst(reports: Iterable[KeyReport]) -> Verdict:
    """Invalid if any is, else unknown if any is."""
    verdicts = [report.verdict for report in reports]
    return next((verdict for verdict in (Verdict.INVALID, Verdict.UNKNOWN) if verdict in verdicts), Verdict.OK)


def check_key(key: str, operations: list[Operation], model: Model, steps_max: int = STEPS_MAX) -> KeyReport:
    """Judge one object's history."""
    search = _Search(operations, model)
    verdict = search.run(steps_max)
    if verdict is not Verdict.INVALID:
        return KeyReport(key, verdict, len(operations), search.steps)
    placed = tuple(search.operations[index] for index in search.longest)
    stuck = tuple(
        operation
        for index, operation in enumerate(search.operations)
        if operation.outcome is Outcome.OK and index not in search.longest
    )
    return KeyReport(key, verdict, len(operations), search.steps, placed, stuck)


@dataclass(slots=True)
class _Frame:
    """One level of the depth-first search: a configuration and the candidates not yet tried in it."""

    state: Hashable
    candidates: Iterator[int]
    placed: int  # the operation that led here; -1 at the root


class _Search:
    def __init__(self, operations: list[Operation], model: Model) -> None:
        possible = [operation for operation in operations if operation.outcome is not Outcome.FAILED]
        self.operations = sorted(possible, key=lambda operation: operation.invoked_us)
        self.steps = 0
        self.longest: list[int] = []
        self._model = model
        self._mask = 0  # bit i: operations[i] is placed
        self._completed = 0  # how many completed operations are placed
        self._to_complete = sum(operation.outcome is Outcome.OK for operation in self.operations)
        self._seen: set[tuple[int, Hashable]] = set()

    def run(self, steps_max: int) -> Verdict:
        path = [_Frame(self._model.initial, self._candidates(), -1)]
        while self._completed < self._to_complete:
            frame = path[-1]
            index = next(frame.candidates, None)
            if index is None:
                path.pop()
                if not path:
                    return Verdict.INVALID
                self._unplace(frame.placed)
                continue
            self.steps += 1
            if self.steps > steps_max:
                return Verdict.UNKNOWN
            possible, state = self._model.apply(frame.state, self.operations[index])
            configuration = (self._mask | 1 << index, state)
            if not possible or configuration in self._seen:
                continue
            if state == frame.state and self.operations[index].outcome is Outcome.UNKNOWN:
                continue  # as good as never having happened
            self._seen.add(configuration)
            self._place(index)
            path.append(_Frame(state, self._candidates(), index))
            if len(path) - 1 > len(self.longest):
                self.longest = [level.placed for level in path[1:]]
        return Verdict.OK

    def _place(self, index: int) -> None:
        self._mask |= 1 << index
        self._completed += self.operations[index].outcome is Outcome.OK

    def _unplace(self, index: int) -> None:
        self._mask &= ~(1 << index)
        self._completed -= self.operations[index].outcome is Outcome.OK

    def _candidates(self) -> Iterator[int]:
        """Operations that may come next: invoked before any unplaced one had completed. Completed ones go first."""
        certain: list[tuple[int, int]] = []
        unknown: list[int] = []
        deadline: int | None = None  # the earliest completion among the unplaced
        mask = self._mask
        first = (~mask & (mask + 1)).bit_length() - 1  # that is not placed
        for index in range(first, len(self.operations)):
            if mask >> index & 1:
                continue
            operation = self.operations[index]
            if deadline is not None and operation.invoked_us > deadline:
                break
            if operation.outcome is Outcome.OK and operation.completed_us is not None:
                certain.append((operation.completed_us, index))
                deadline = operation.completed_us if deadline is None else min(deadline, operation.completed_us)
            else:
                unknown.append(index)
        certain.sort()
        ordered = [index for _, index in certain] + unknown
        return iter([i for i in ordered if deadline is None or self.operations[i].invoked_us <= deadline])


def _describe(operation: Operation) -> str:
    call = f"{operation.process} {operation.function}({operation.argument!r})"
    until = "?" if operation.completed_us is None else operation.completed_us
    return f"[{operation.invoked_us}, {until}] {call} -> {operation.result!r} {operation.outcome.value}"
