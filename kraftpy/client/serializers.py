"""Turning keys and values into bytes and back.

A serializer is named (`"json"`), or is a callable `value -> bytes`, or an object with `serialize(topic, value)`; a
deserializer likewise, with `deserialize(topic, data)`. None stays None, which deletes a key on a compacted topic, and
never reaches a serializer. Without one, bytes pass as they are and text is UTF-8. `int` is 4 bytes, `long` 8 and
`double` 8, big endian, as Kafka's own serializers write them; Kafka's class names are understood too.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

from kraftpy.errors import ConfigurationError, SerializationError

Serialize = Callable[[str, Any], bytes]
"""(topic, value) -> bytes"""
Deserialize = Callable[[str, bytes], Any]
"""(topic, data) -> value"""

_INT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_DOUBLE = struct.Struct(">d")

_KAFKA_NAMES = {
    "String": "str",
    "ByteArray": "bytes",
    "ByteBuffer": "bytes",
    "Bytes": "bytes",
    "Integer": "int",
    "Long": "long",
    "Double": "double",
}


class RecordDeserializationError(SerializationError):
    """A record that was read cannot be turned back into values.

    The consumer's position stays at the record: `seek` to `offset + 1` to go past it.
    """

    def __init__(self, topic: str, partition: int, offset: int, what: str, reason: Exception) -> None:
        super().__init__(
            f"{topic}-{partition} offset {offset}: the {what} cannot be deserialized "
            f"({type(reason).__name__}: {reason}); seek to offset {offset + 1} to go past it"
        )
        self.topic = topic
        self.partition = partition
        self.offset = offset


def to_bytes(value: Any) -> bytes:
    """Bytes as they are, text as UTF-8."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"bytes or str expected, not {type(value).__name__}; set a serializer")


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"str expected, not {type(value).__name__}")
    return value.encode()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


_SERIALIZERS: dict[str, Callable[[Any], bytes]] = {
    "bytes": to_bytes,
    "str": _text,
    "int": _INT.pack,
    "long": _LONG.pack,
    "double": _DOUBLE.pack,
    "json": _json,
}
_DESERIALIZERS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "str": bytes.decode,
    "int": lambda data: _INT.unpack(data)[0],
    "long": lambda data: _LONG.unpack(data)[0],
    "double": lambda data: _DOUBLE.unpack(data)[0],
    "json": json.loads,
}


def serializer(choice: Any) -> Serialize | None:
    """The serializer that a setting names; None where bytes and text suffice. Raises `ConfigurationError`."""
    if choice is None or choice == "bytes":
        return None
    if hasattr(choice, "serialize"):
        return choice.serialize  # type: ignore[no-any-return]
    plain = _SERIALIZERS.get(_plain_name(choice, "Serializer")) if isinstance(choice, str) else choice
    if not callable(plain):
        raise ConfigurationError(f"serializer {choice!r} is neither callable nor one of {', '.join(_SERIALIZERS)}")
    return lambda _topic, value: plain(value)


def deserializer(choice: Any) -> Deserialize | None:
    """The deserializer that a setting names; None where bytes stay bytes. Raises `ConfigurationError`."""
    if choice is None or choice == "bytes":
        return None
    if hasattr(choice, "deserialize"):
        return choice.deserialize  # type: ignore[no-any-return]
    plain = _DESERIALIZERS.get(_plain_name(choice, "Deserializer")) if isinstance(choice, str) else choice
    if not callable(plain):
        raise ConfigurationError(f"deserializer {choice!r} is neither callable nor one of {', '.join(_DESERIALIZERS)}")
    return lambda _topic, data: plain(data)


def serialize(serialize_with: Serialize | None, topic: str, what: str, value: Any) -> bytes | None:
    """`value` as bytes. Raises `SerializationError`, which names topic and part, whatever the serializer raised."""
    if value is None:
        return None
    try:
        data = to_bytes(value) if serialize_with is None else serialize_with(topic, value)
    except Exception as error:
        raise SerializationError(
            f"{topic}: the {what} cannot be serialized: {type(error).__name__}: {error}"
        ) from error
    if data is None or isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise SerializationError(f"{topic}: the {what}'s serializer returned {type(data).__name__}, not bytes")


def _plain_name(choice: str, suffix: str) -> str:
    name = choice.rpartition(".")[2]
    return _KAFKA_NAMES.get(name.removesuffix(suffix), choice) if name.endswith(suffix) else choice
