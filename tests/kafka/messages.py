"""Hypothesis strategies for our messages, from their schemas."""

from typing import Any, TypeVar

from hypothesis import strategies as st

from broker.kafka.schema import MessageField, Structure, fields_in, taken_apart
from tests.kafka.schemas import kind_name

S = TypeVar("S", bound=Structure)

_TEXTS = st.text(max_size=12)
_NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int8": st.integers(-(2**7), 2**7 - 1),
    # kio makes an enum of error codes, and refuses those that it does not know
    "int16": st.integers(-1, 100),
    "uint16": st.integers(0, 2**16 - 1),
    # … and durations of the numbers of milliseconds
    "int32": st.integers(0, 2**31 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "int64": st.integers(0, 2**40),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
}


def instances(structure: type[S], version: int, flexible: bool) -> st.SearchStrategy[S]:
    """Whatever `structure` can say in `version`."""
    plain, tagged = fields_in(structure, version, flexible)
    return st.builds(structure, **{field.name: _values(field, version, flexible) for field in [*plain, *tagged]})


def _values(field: MessageField, version: int, flexible: bool) -> st.SearchStrategy[Any]:
    kind, element, allows_none = taken_apart(field.type)
    values = _of_kind(kind, element, version, flexible)
    if allows_none and kind_name(kind) != "uuid" and version >= field.versions.nullable_since:
        return st.none() | values
    return values


def _of_kind(kind: Any, element: Any, version: int, flexible: bool) -> st.SearchStrategy[Any]:
    if kind == "array":
        inner_kind, inner, _ = taken_apart(element)
        return st.lists(_of_kind(inner_kind, inner, version, flexible), max_size=3).map(tuple)
    match kind_name(kind):
        case "string":
            return _TEXTS
        case "bytes":
            return st.binary(max_size=20)
        case "uuid":
            return st.none() | st.uuids()
        case "structure":
            return instances(kind, version, flexible)
        case number:
            return _NUMBERS[number]
