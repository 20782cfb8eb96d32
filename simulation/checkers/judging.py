"""Judges a whole history, whoever recorded it: every checker that has something to say about it.

Sends and polls go to the log checker, whose word on the order of appends in real time stands apart; operations go to
the search for a linear order, key by key, each with the model that knows its functions.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from simulation.checkers.history import Event, HistoryError, Json, Operation, Outcome
from simulation.checkers.linearizability import STEPS_MAX, Model, check_key
from simulation.checkers.log_checker import Anomaly, check_log
from simulation.checkers.models import AppendOnlyLog, Register, RetriedTopic
from simulation.verdicts import CheckVerdict, Verdict

MODELS: Mapping[str, tuple[Model, tuple[str, ...]]] = MappingProxyType(
    {
        "register": (Register(), ("write", "read", "compare_and_set")),
        "topic": (RetriedTopic(), ("create", "delete", "describe")),
        "log": (AppendOnlyLog(), ("append", "read")),
    }
)
"""Each model with its functions."""


def judge_history(
    events: Iterable[tuple[int, Event]], model: str = "", steps_max: int = STEPS_MAX
) -> list[CheckVerdict]:
    """Every verdict on events with their lines' numbers. `model`: of all keys; by default each key's functions tell.

    Raises `HistoryError`, with the line, where a model does not understand an operation.
    """
    listed = list(events)
    numbered: dict[str, list[tuple[int, Operation]]] = {}
    for number, event in listed:
        if isinstance(event, Operation):
            numbered.setdefault(event.key, []).append((number, event))
    others = [event for _, event in listed if not isinstance(event, Operation)]
    verdicts = _log(others) if others or not numbered else []
    for key, operations in numbered.items():
        of_key = [operation for _, operation in operations]
        name = model or model_of(key, of_key)
        for number, operation in operations:
            try:
                _check_operation(name, operation)
            except HistoryError as error:
                raise HistoryError(f"line {number}: {error}") from None
        report = check_key(key, of_key, MODELS[name][0], steps_max)
        found = str(report) if report.verdict is Verdict.INVALID else f"{report.operations} operations"
        if report.verdict is Verdict.UNKNOWN:
            found += f", given up after {steps_max} steps"
        verdicts.append(CheckVerdict(f"{name} {key}", report.verdict, found))
    return verdicts


def _log(events: Iterable[Event]) -> list[CheckVerdict]:
    report = check_log(events)
    order = [str(finding) for finding in report.findings if finding.anomaly is Anomaly.REAL_TIME_ORDER]
    other = [str(finding) for finding in report.findings if finding.anomaly is not Anomaly.REAL_TIME_ORDER]
    counts = str(report).splitlines()[0]
    return [_verdict("log", other, counts), _verdict("append order", order, f"{report.sends} sends")]


def _verdict(checker: str, findings: list[str], counts: str) -> CheckVerdict:
    return CheckVerdict(checker, Verdict.INVALID if findings else Verdict.OK, "\n".join(findings) or counts)


def model_of(key: str, operations: Iterable[Operation]) -> str:
    """The model that has all functions of a key. Raises `HistoryError` where none has."""
    used = dict.fromkeys(operation.function for operation in operations)
    fitting = [name for name, (_, functions) in MODELS.items() if all(function in functions for function in used)]
    if not fitting:
        known = "; ".join(f"{name}: {', '.join(functions)}" for name, (_, functions) in MODELS.items())
        raise HistoryError(f"no model has the functions {', '.join(used)} of {key!r} ({known})")
    if len(fitting) > 1 and any(operation.argument is not None for operation in operations):
        return "log"  # `read` alone is both's; a register's has no argument
    return fitting[0]


def _check_operation(model: str, operation: Operation) -> None:
    """Raises `HistoryError` where the model cannot understand it."""
    if operation.function not in MODELS[model][1]:
        raise HistoryError(f"a {model} has no {operation.function!r} ({operation.process} on {operation.key!r})")
    argument, result = operation.argument, operation.result
    answered = operation.outcome is Outcome.OK
    match model, operation.function:
        case "register", "compare_and_set":
            right = isinstance(argument, list) and len(argument) == 2 and all(map(_is_plain, argument))
            right = right and (not answered or isinstance(result, bool))
        case "log", "read":
            right = _is_whole(argument) and (not answered or isinstance(result, list))
        case "topic", "create":
            right = _is_whole(argument)
        case _:
            right = _is_plain(argument) and _is_plain(result)
    if not right:
        told = f"{operation.process} on {operation.key!r}: {operation.function}({argument!r}) -> {result!r}"
        raise HistoryError(f"a {model} does not understand {told}")


def _is_plain(value: Json) -> bool:
    return not isinstance(value, list | dict)


def _is_whole(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
