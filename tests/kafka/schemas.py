"""Whether a message's schema is the one that kio generated from Kafka's own definitions, version by version.

A form is a list of (type, may be null, tag): of the fields in the order of the wire, of structures by their forms.
Names and defaults are not compared; the types on the wire, their order, nullness and tags are.
"""

import dataclasses
from collections.abc import Iterator
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from broker.kafka.schema import Structure, fields_in, taken_apart

Form = tuple[Any, ...]

# What kio calls by a name of its own; on the wire it is this.
_SAME = {
    "error_code": "int16",
    "timedelta_i32": "int32",
    "timedelta_i64": "int64",
    "datetime_i64": "int64",
    "records": "bytes",
}
_LETTERS = {
    "?": "bool", "b": "int8", "h": "int16", "H": "uint16", "i": "int32", "I": "uint32", "q": "int64", "d": "float64",
}  # fmt: skip


def our_form(structure: type[Structure], version: int, flexible: bool) -> list[Form]:
    plain, tagged = fields_in(structure, version, flexible)
    forms = []
    for field in [*plain, *sorted(tagged, key=lambda each: each.versions.tag or 0)]:
        kind, element, allows_none = taken_apart(field.type)
        is_null = allows_none and kind_name(kind) != "uuid" and version >= field.versions.nullable_since
        forms.append((_our_type(kind, element, version, flexible), is_null, field.versions.tag))
    return forms


def kind_name(kind: Any) -> str:
    value = getattr(kind, "value", kind)
    return _LETTERS.get(value, value) if isinstance(value, str) else "structure"


def _our_type(kind: Any, element: Any, version: int, flexible: bool) -> Any:
    if kind == "array":
        inner_kind, inner, _ = taken_apart(element)
        return ("array", _our_type(inner_kind, inner, version, flexible))
    name = kind_name(kind)
    return tuple(our_form(kind, version, flexible)) if name == "structure" else name


def kio_form(entity: Any) -> list[Form]:
    hints = get_type_hints(entity, include_extras=False)
    plain: list[Form] = []
    tagged: list[Form] = []
    for field in dataclasses.fields(entity):
        tag = field.metadata.get("tag")
        form = (*_kio_type(field.metadata.get("kafka_type"), hints[field.name]), tag)
        (plain if tag is None else tagged).append(form)
    return [*plain, *sorted(tagged, key=lambda form: form[2])]


def _kio_type(kafka_type: str | None, hint: Any) -> tuple[Any, bool]:
    is_null = False
    if get_origin(hint) in (Union, UnionType):
        is_null = NoneType in get_args(hint)
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple:
        return ("array", _kio_type(kafka_type, get_args(hint)[0])[0]), is_null
    if kafka_type is None:
        return tuple(kio_form(hint)), is_null
    name = _SAME.get(kafka_type, kafka_type)
    return name, is_null and name != "uuid"


def versions_of(api: str, kind: str) -> Iterator[tuple[int, Any]]:
    """The versions that kio has of a message ("metadata", "request"), and its class of each."""
    package = import_module(f"kio.schema.{api}")
    for version in range(32):
        try:
            module = import_module(f"{package.__name__}.v{version}.{kind}")
        except ModuleNotFoundError:
            continue
        name = "".join(part.capitalize() for part in api.split("_")) + kind.capitalize()
        yield version, getattr(module, name)
