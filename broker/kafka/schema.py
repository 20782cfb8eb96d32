"""Kafka's messages as dataclasses: a class is the schema, and from it come a reader and a writer for each version.

    @structure
    class AskedTopic(Structure):
        topic_id: Uuid = wire(since=10, default=None)
        name: NullableString = wire(nullable_since=10)

    @structure
    class MetadataRequest(Structure):
        topics: tuple[AskedTopic, ...] | None = wire(nullable_since=1)
        allow_auto_topic_creation: Boolean = wire(since=4, default=True)

Fields stand in the order of the wire. A field that a version does not have is read as its default, and not written.
Tagged fields (KIP-482) have a `tag`, and are written only where they differ from their default. An array is a tuple, a
structure that may be null is `Name | None` (KIP-893's form: a byte of -1 or 1 before it).

Neighbouring fields of fixed size are packed together, and everything is worked out once a version, when it is first
needed. The few messages whose bytes count (Produce, Fetch) are still packed by hand.

Pure. The bounds of reading are `wire`'s.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from struct import Struct
from types import NoneType, UnionType
from typing import Annotated, Any, Final, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints
from uuid import UUID

from broker.kafka.wire import NO_TAGS, NULL_UUID, ProtocolError, RequestReader, varint
from kraftpy.runtime.ports import Buffer


class _Fixed(Enum):
    """Types of a fixed size, by their letter in `struct`."""

    BOOLEAN = "?"
    INT8 = "b"
    INT16 = "h"
    UINT16 = "H"
    INT32 = "i"
    INT64 = "q"
    FLOAT64 = "d"


class _Sized(Enum):
    STRING = "string"
    BYTES = "bytes"
    UUID = "uuid"


Boolean = Annotated[bool, _Fixed.BOOLEAN]
Int8 = Annotated[int, _Fixed.INT8]
Int16 = Annotated[int, _Fixed.INT16]
UInt16 = Annotated[int, _Fixed.UINT16]
Int32 = Annotated[int, _Fixed.INT32]
Int64 = Annotated[int, _Fixed.INT64]
Float64 = Annotated[float, _Fixed.FLOAT64]
String = Annotated[str, _Sized.STRING]
NullableString = Annotated[str | None, _Sized.STRING]
Bytes = Annotated[Buffer, _Sized.BYTES]
"""Read as a view of the frame, valid as long as that is: `bytes(…)` keeps it."""
NullableBytes = Annotated[Buffer | None, _Sized.BYTES]
Uuid = Annotated[UUID | None, _Sized.UUID]
"""None is the one that is all zeros, which Kafka uses for none."""

_METADATA_KEY: Final = "wire"
_NO_VERSION_YET: Final = 1 << 15


class Structure:
    """What every message and every part of one is derived from."""

    __slots__ = ()


S = TypeVar("S", bound=Structure)
Read = Callable[[RequestReader], Any]
Write = Callable[[Any, bytearray], None]


@dataclass(frozen=True, slots=True)
class _Versions:
    """In which versions a field is there, and how."""

    since: int
    end: int  # exclusive
    nullable_since: int
    tag: int | None


@dataclass(frozen=True, slots=True)
class MessageField:
    """What a class says of one of its fields."""

    name: str
    type: Any  # as annotated
    versions: _Versions
    default: Any


def wire(
    *,
    since: int = 0,
    end: int = _NO_VERSION_YET,
    nullable_since: int = 0,
    tag: int | None = None,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field that is there from version `since` up to, but not in, version `end`.

    `nullable_since`: null is refused in older versions, though the type allows None. `default`: needed where a version
    lacks the field, and for tagged fields.
    """
    metadata = {_METADATA_KEY: _Versions(since, end, nullable_since, tag)}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(wire,))
def structure(cls: type[S]) -> type[S]:
    """Make a class with annotated fields a frozen dataclass with slots, whose fields are given by name."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


# --- whole messages --------------------------------------------------------------------------------------------------


def decode(message: type[S], body: Buffer, version: int, *, flexible: bool, exact: bool = True) -> S:
    """All of `body`; unless `exact`, what follows the message is not looked at. Raises `ProtocolError`."""
    reader = RequestReader(memoryview(body), flexible=flexible)
    decoded = reader_of(message, version, flexible)(reader)  # type: ignore[arg-type]  # mypy finds no hash in a type
    if exact:
        reader.finish()
    assert isinstance(decoded, message)
    return decoded


def encode(message: Structure, version: int, *, flexible: bool) -> bytearray:
    """Raises `ValueError` where the message holds what its version cannot say (a null, a number that is too large)."""
    encoded = bytearray()
    writer_of(type(message), version, flexible)(message, encoded)  # type: ignore[arg-type]
    return encoded


# --- reading ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4_096)  # more than there are structures times versions
def reader_of(cls: type[Structure], version: int, flexible: bool) -> Read:
    """Reads one such structure."""
    plain, tagged = fields_in(cls, version, flexible)
    names = tuple(field.name for field in plain)
    steps = _read_steps(plain, version, flexible)
    by_tag = {field.versions.tag: (field.name, _reader(field, version, flexible)) for field in tagged}

    def read(reader: RequestReader) -> Structure:
        values: list[Any] = []
        for step in steps:
            step(reader, values)
        named = dict(zip(names, values, strict=True))
        if by_tag:
            for tag, value in reader.tags():
                if tag in by_tag:
                    name, read_tagged = by_tag[tag]
                    named[name] = read_tagged(value)
        else:
            reader.skip_tags()
        return cls(**named)

    return read


def _read_steps(
    fields: list[MessageField], version: int, flexible: bool
) -> list[Callable[[RequestReader, list[Any]], None]]:
    steps: list[Callable[[RequestReader, list[Any]], None]] = []
    for run in _runs(fields):
        layout = _layout(run)
        if layout is not None:
            steps.append(lambda reader, values, layout=layout: values.extend(reader.unpack(layout)))  # type: ignore[misc]
        else:
            read = _reader(run[0], version, flexible)
            steps.append(lambda reader, values, read=read: values.append(read(reader)))  # type: ignore[misc]
    return steps


def _reader(field: MessageField, version: int, flexible: bool) -> Read:
    kind, element, allows_none = taken_apart(field.type)
    read = _reader_of_kind(kind, element, allows_none, version, flexible)
    if allows_none and kind is not _Sized.UUID and version < field.versions.nullable_since:
        return _refusing_none(field.name, read)
    return read


def _reader_of_kind(kind: Any, element: Any, allows_none: bool, version: int, flexible: bool) -> Read:
    match kind:
        case _Fixed():
            layout = Struct(">" + kind.value)
            return lambda reader: reader.unpack(layout)[0]
        case _Sized.STRING:
            return RequestReader.nullable_string if allows_none else RequestReader.string
        case _Sized.BYTES:
            return RequestReader.nullable_data if allows_none else RequestReader.data
        case _Sized.UUID:
            return RequestReader.uuid
        case "array":
            return _array_reader(element, allows_none, version, flexible)
        case _:
            read = reader_of(kind, version, flexible)
            return _nullable_structure_reader(read) if allows_none else read


def _array_reader(element: Any, allows_none: bool, version: int, flexible: bool) -> Read:
    kind, inner, element_allows_none = taken_apart(element)
    read = _reader_of_kind(kind, inner, element_allows_none, version, flexible)
    bytes_min = _bytes_min(element, version, flexible)

    def read_array(reader: RequestReader) -> tuple[Any, ...] | None:
        count = reader.nullable_count(bytes_min)
        if count is None:
            if not allows_none:
                raise ProtocolError("an array is null where it may not be")
            return None
        return tuple([read(reader) for _ in range(count)])

    return read_array


def _nullable_structure_reader(read: Read) -> Read:
    def read_nullable(reader: RequestReader) -> Any:
        return None if reader.int8() < 0 else read(reader)

    return read_nullable


def _refusing_none(name: str, read: Read) -> Read:
    def read_something(reader: RequestReader) -> Any:
        value = read(reader)
        if value is None:
            raise ProtocolError(f"{name} is null where it may not be")
        return value

    return read_something


# --- writing ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4_096)
def writer_of(cls: type[Structure], version: int, flexible: bool) -> Write:
    """Writes one such structure."""
    plain, tagged = fields_in(cls, version, flexible)
    steps = _write_steps(plain, version, flexible)
    tag_writers = [
        (field.versions.tag or 0, field.name, field.default, _writer(field, version, flexible)) for field in tagged
    ]

    def write(value: Any, encoded: bytearray) -> None:
        for step in steps:
            step(value, encoded)
        if tag_writers:
            _write_tags(value, encoded, tag_writers)
        elif flexible:
            encoded += NO_TAGS

    return write


def _write_steps(fields: list[MessageField], version: int, flexible: bool) -> list[Write]:
    steps: list[Write] = []
    for run in _runs(fields):
        layout = _layout(run)
        if layout is not None:
            steps.append(_run_writer(layout, [field.name for field in run]))
        else:
            get, write = attrgetter(run[0].name), _writer(run[0], version, flexible)
            steps.append(lambda value, encoded, get=get, write=write: write(get(value), encoded))  # type: ignore[misc]
    return steps


def _run_writer(layout: Struct, names: list[str]) -> Write:
    get, pack = attrgetter(*names), layout.pack

    def write_one(value: Any, encoded: bytearray) -> None:
        encoded += pack(get(value))

    def write_many(value: Any, encoded: bytearray) -> None:
        encoded += pack(*get(value))

    return write_one if len(names) == 1 else write_many


def _write_tags(value: Any, encoded: bytearray, tag_writers: list[tuple[int, str, Any, Write]]) -> None:
    pieces: list[tuple[int, bytearray]] = []
    for tag, name, default, write in sorted(tag_writers, key=lambda each: each[0]):
        field = getattr(value, name)
        if field != default:
            piece = bytearray()
            write(field, piece)
            pieces.append((tag, piece))
    encoded += varint(len(pieces))
    for tag, piece in pieces:
        encoded += varint(tag)
        encoded += varint(len(piece))
        encoded += piece


def _writer(field: MessageField, version: int, flexible: bool) -> Write:
    kind, element, allows_none = taken_apart(field.type)
    write = _writer_of_kind(kind, element, allows_none, version, flexible)
    if kind is _Sized.UUID or (allows_none and version >= field.versions.nullable_since):
        return write

    def write_something(value: Any, encoded: bytearray) -> None:
        if value is None:
            raise ValueError(f"{field.name} may not be null in version {version}")
        write(value, encoded)

    return write_something


def _writer_of_kind(kind: Any, element: Any, allows_none: bool, version: int, flexible: bool) -> Write:
    match kind:
        case _Fixed():
            pack = Struct(">" + kind.value).pack
            return lambda value, encoded: encoded.extend(pack(value))
        case _Sized.STRING:
            return _text_writer(flexible)
        case _Sized.BYTES:
            return _data_writer(flexible)
        case _Sized.UUID:
            return lambda value, encoded: encoded.extend(NULL_UUID if value is None else value.bytes)
        case "array":
            return _array_writer(element, version, flexible)
        case _:
            write = writer_of(kind, version, flexible)
            return _nullable_structure_writer(write) if allows_none else write


def _text_writer(flexible: bool) -> Write:
    begin = _beginning(flexible, Struct(">h"))

    def write(value: str | None, encoded: bytearray) -> None:
        if value is None:
            encoded += begin(-1)
        else:
            data = value.encode()
            encoded += begin(len(data))
            encoded += data

    return write


def _data_writer(flexible: bool) -> Write:
    begin = _beginning(flexible, Struct(">i"))

    def write(value: Buffer | None, encoded: bytearray) -> None:
        if value is None:
            encoded += begin(-1)
        else:
            encoded += begin(len(value))
            encoded += value

    return write


def _array_writer(element: Any, version: int, flexible: bool) -> Write:
    begin = _beginning(flexible, Struct(">i"))
    kind, inner, allows_none = taken_apart(element)
    write_element = _writer_of_kind(kind, inner, allows_none, version, flexible)

    def write(value: tuple[Any, ...] | None, encoded: bytearray) -> None:
        encoded += begin(-1 if value is None else len(value))
        for each in value or ():
            write_element(each, encoded)

    return write


def _nullable_structure_writer(write: Write) -> Write:
    def write_nullable(value: Any, encoded: bytearray) -> None:
        if value is None:
            encoded += b"\xff"
        else:
            encoded += b"\x01"
            write(value, encoded)

    return write_nullable


def _beginning(flexible: bool, layout: Struct) -> Callable[[int], bytes]:
    """What comes before a text, data or an array, by its length; -1: it is null."""
    if not flexible:
        return layout.pack
    return lambda length: varint(length + 1)


# --- what a class says -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1_024)
def _fields(cls: type[Structure]) -> tuple[MessageField, ...]:
    hints = get_type_hints(cls, include_extras=True)
    always = _Versions(0, _NO_VERSION_YET, 0, None)
    return tuple(
        MessageField(field.name, hints[field.name], field.metadata.get(_METADATA_KEY, always), field.default)
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
    )


def fields_in(cls: type[Structure], version: int, flexible: bool) -> tuple[list[MessageField], list[MessageField]]:
    """The plain and the tagged ones of a version."""
    plain: list[MessageField] = []
    tagged: list[MessageField] = []
    for field in _fields(cls):  # type: ignore[arg-type]
        versions = field.versions
        if not versions.since <= version < versions.end or (versions.tag is not None and not flexible):
            assert field.default is not dataclasses.MISSING, f"{cls.__name__}.{field.name} needs a default"
        elif versions.tag is None:
            plain.append(field)
        else:
            tagged.append(field)
    return plain, tagged


def _runs(fields: list[MessageField]) -> list[list[MessageField]]:
    """Neighbours of fixed size together, every other field alone."""
    runs: list[list[MessageField]] = []
    for field in fields:
        fixed = isinstance(taken_apart(field.type)[0], _Fixed)
        if runs and fixed and isinstance(taken_apart(runs[-1][-1].type)[0], _Fixed):
            runs[-1].append(field)
        else:
            runs.append([field])
    return runs


def _layout(run: list[MessageField]) -> Struct | None:
    kinds = [taken_apart(field.type)[0] for field in run]
    if not isinstance(kinds[0], _Fixed):
        return None
    return Struct(">" + "".join(kind.value for kind in kinds))


def taken_apart(annotated: Any) -> tuple[Any, Any, bool]:
    """(kind, type of the elements of an array, whether None is allowed).

    The kind is a `_Fixed`, a `_Sized`, "array", or the class of a structure.
    """
    if get_origin(annotated) is Annotated:
        value_type, kind = get_args(annotated)
        return kind, None, NoneType in get_args(value_type)
    allows_none = False
    if get_origin(annotated) in (Union, UnionType):
        annotated = next(each for each in get_args(annotated) if each is not NoneType)
        allows_none = True
    if get_origin(annotated) is tuple:
        element, _ = get_args(annotated)
        return "array", element, allows_none
    assert isinstance(annotated, type) and issubclass(annotated, Structure), f"{annotated} has no form on the wire"
    return annotated, None, allows_none


@lru_cache(maxsize=4_096)
def _bytes_min(annotated: Any, version: int, flexible: bool) -> int:
    """The fewest bytes that a value takes."""
    kind, _, allows_none = taken_apart(annotated)
    match kind:
        case _Fixed():
            return Struct(">" + kind.value).size
        case _Sized.UUID:
            return len(NULL_UUID)
        case _Sized.STRING:
            return 1 if flexible else 2
        case _Sized.BYTES | "array":
            return 1 if flexible else 4
        case _:
            if allows_none:
                return 1
            plain, _ = fields_in(kind, version, flexible)
            return sum(_bytes_min(field.type, version, flexible) for field in plain) + (1 if flexible else 0)
