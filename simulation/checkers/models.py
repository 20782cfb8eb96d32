"""Sequential models for the linearizability checker.

An operation of unknown outcome has no result: a model accepts it in every state and says what it does there.
"""

from collections.abc import Hashable
from typing import cast

from simulation.checkers.history import Operation, Outcome


class Register:
    """`write(value)`, `read() -> value`, `compare_and_set([old, new]) -> bool`; None at first."""

    initial: Hashable = None

    def apply(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        known = operation.outcome is Outcome.OK
        match operation.function:
            case "write":
                return True, cast(Hashable, operation.argument)
            case "read":
                return not known or operation.result == state, state
            case "compare_and_set":
                old, new = cast("list[Hashable]", operation.argument)
                changed = old == state
                return not known or operation.result is changed, new if changed else state
        raise ValueError(f"a register has no {operation.function}")


class Topic:
    """One topic's existence: `create(partitions) -> "created" | "exists"`, `delete() -> "deleted" | "unknown"`,
    `describe() -> partitions | None`. The state is the number of partitions, or None."""

    initial: Hashable = None

    def apply(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        result: Hashable
        after: Hashable
        match operation.function:
            case "create":
                result, after = ("created", cast(Hashable, operation.argument)) if state is None else ("exists", state)
            case "delete":
                result, after = ("unknown", None) if state is None else ("deleted", None)
            case "describe":
                result, after = state, state
            case _:
                raise ValueError(f"a topic has no {operation.function}")
        return operation.outcome is not Outcome.OK or operation.result == result, after


class RetriedTopic(Topic):
    """A topic changed through a client that tries again, and takes a refusal for success where an earlier attempt may
    have been the reason: `created?` is `created` or `exists`, and `deleted?` is `deleted` or `unknown`. The attempts
    before the last stand in the history as operations of unknown outcome."""

    def apply(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        if operation.result == "created?":
            return True, cast(Hashable, operation.argument) if state is None else state
        if operation.result == "deleted?":
            return True, None
        return super().apply(state, operation)


class AppendOnlyLog:
    """One partition: `append(value) -> offset`, `read(offset) -> values from there to the end`. For small histories;
    large ones are judged by `log_checker`."""

    initial: Hashable = ()

    def apply(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        records = cast("tuple[Hashable, ...]", state)
        known = operation.outcome is Outcome.OK
        match operation.function:
            case "append":
                return not known or operation.result == len(records), (*records, cast(Hashable, operation.argument))
            case "read":
                offset = cast(int, operation.argument)
                return not known or operation.result == list(records[offset:]), records
        raise ValueError(f"a log has no {operation.function}")
