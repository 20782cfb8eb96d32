"""Random messages of any schema, from an injected generator: the fuzzer makes millions, so without Hypothesis."""

from random import Random
from typing import Any, TypeVar
from uuid import UUID

from broker.kafka.schema import MessageField, Structure, fields_in, taken_apart
from tests.kafka.schemas import kind_name

S = TypeVar("S", bound=Structure)

TEXTS = (
    "",
    "a",
    "b",
    "missing",
    "__consumer_offsets",
    "retention.ms",
    "cleanup.policy",
    "1",
    "9",
    "ünï",
    "x" * 250,
    "\0",
)
IDS = (None, UUID(int=1), UUID(int=9))
_NUMBERS = {
    "bool": (True, False),
    "int8": (0, 1, 2, 3, 4, 16, 32, -1, 127, -128),
    "int16": (0, 1, 3, -1, 2**15 - 1, -(2**15)),
    "uint16": (0, 9092, 2**16 - 1),
    "int32": (0, 1, 2, 3, 100, -1, -2, 2**31 - 1, -(2**31)),
    "uint32": (0, 2**32 - 1),
    "int64": (0, 1, 5, 10**12, -1, -2, -3, -4, -5, -6, -7, 2**63 - 1, -(2**63)),
    "float64": (0.0, 1.5, float("nan"), float("-inf")),
}
ELEMENTS_MAX = 3


def random_message(structure: type[S], version: int, flexible: bool, random: Random) -> S:
    """Whatever `structure` can say in `version`; extreme values are as frequent as plain ones."""
    plain, tagged = fields_in(structure, version, flexible)
    drawn = [*plain, *[field for field in tagged if random.random() < 0.5]]
    return structure(**{field.name: _value(field, version, flexible, random) for field in drawn})


def _value(field: MessageField, version: int, flexible: bool, random: Random) -> Any:
    kind, element, allows_none = taken_apart(field.type)
    may_be_none = allows_none and kind_name(kind) != "uuid" and version >= field.versions.nullable_since
    if may_be_none and random.random() < 0.2:
        return None
    return _of_kind(kind, element, version, flexible, random)


def _of_kind(kind: Any, element: Any, version: int, flexible: bool, random: Random) -> Any:
    if kind == "array":
        inner_kind, inner, _ = taken_apart(element)
        count = random.randrange(ELEMENTS_MAX + 1)
        return tuple(_of_kind(inner_kind, inner, version, flexible, random) for _ in range(count))
    match kind_name(kind):
        case "string":
            return random.choice(TEXTS)
        case "bytes":
            return random.randbytes(random.choice((0, 3, 61, 200)))
        case "uuid":
            return random.choice(IDS)
        case "structure":
            return random_message(kind, version, flexible, random)
        case number:
            return random.choice(_NUMBERS[number])
