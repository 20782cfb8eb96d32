"""The words of Kafka's protocol: integers, strings, arrays and tagged fields, in their old and their flexible form.

Flexible versions (KIP-482) write lengths as unsigned varints of length + 1 and end every structure with tagged fields;
older ones write int16 and int32. A reader is told once which form a message has.

Invariants of reading: no count is believed before the bytes that are left could hold that many, so a few hostile bytes
allocate nothing; whatever the bytes are, reading ends with values or with `ProtocolError`. (That is why requests are
not read by kio: its native reader allocates for a compact array's count at once, and aborts the process.)
"""

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from uuid import UUID

_INT8 = Struct(">b")
_INT16 = Struct(">h")
_INT32 = Struct(">i")
_INT64 = Struct(">q")
_UUID_BYTES = 16
_VARINT_GROUPS_MAX = 5

ELEMENTS_MAX = 250_000
"""In all arrays of one message: five a partition for 50,000 of them, and some 50 MB once they are objects."""

NO_TAGS = b"\0"
NO_THROTTLE = bytes(4)
"""throttle_time_ms of an answer: nobody is throttled."""
NULL_UUID = bytes(_UUID_BYTES)
TOO_SHORT = "the message ends too early"


class ProtocolError(ConnectionAbortedError):
    """The peer does not speak the protocol; there is no way to answer but to close the connection."""


class RequestReader:
    """Reads one request from its start to its end."""

    __slots__ = ("_data", "_elements_left", "_end", "_flexible", "position")

    def __init__(
        self, data: bytes | memoryview, *, flexible: bool, position: int = 0, elements_max: int = ELEMENTS_MAX
    ) -> None:
        """`elements_max`: in all arrays together. What is read costs many times its bytes, once it is objects."""
        self._data = data
        self._end = len(data)
        self._flexible = flexible
        self._elements_left = elements_max
        self.position = position

    def unpack(self, layout: Struct) -> tuple[int, ...]:
        position = self.position  # as `_advance`, without calling it: most of what a request costs to read is this
        after = position + layout.size
        if after > self._end:
            raise ProtocolError(TOO_SHORT)
        self.position = after
        return layout.unpack_from(self._data, position)

    def int8(self) -> int:
        return self.unpack(_INT8)[0]

    def int16(self) -> int:
        return self.unpack(_INT16)[0]

    def int32(self) -> int:
        return self.unpack(_INT32)[0]

    def int64(self) -> int:
        return self.unpack(_INT64)[0]

    def uuid(self) -> UUID | None:
        """None for the one that is all zeros."""
        position = self._advance(_UUID_BYTES)
        data = bytes(self._data[position : position + _UUID_BYTES])
        return None if data == NULL_UUID else _uuid_of(data)

    def string(self) -> str:
        text = self.nullable_string()
        if text is None:
            raise ProtocolError("a text is null where it may not be")
        return text

    def nullable_string(self) -> str | None:
        return self._text(self.varint() - 1 if self._flexible else self.int16())

    def old_nullable_string(self) -> str | None:
        """In the form of before KIP-482, whatever form the rest of the message has."""
        return self._text(self.int16())

    def _text(self, length: int) -> str | None:
        if length < 0:
            if length != -1:
                raise ProtocolError(f"a text has length {length}")
            return None
        position = self._advance(length)
        try:
            return str(self._data[position : position + length], "utf-8")
        except UnicodeDecodeError:
            raise ProtocolError("a text is not UTF-8") from None

    def nullable_bytes(self) -> bytes | memoryview:
        """Not copied; null is empty."""
        data = self.nullable_data()
        return b"" if data is None else data

    def data(self) -> bytes | memoryview:
        """Not copied."""
        data = self.nullable_data()
        if data is None:
            raise ProtocolError("data is null where it may not be")
        return data

    def nullable_data(self) -> bytes | memoryview | None:
        """Not copied."""
        length = self.varint() - 1 if self._flexible else self.int32()
        if length < 0:
            if length != -1:
                raise ProtocolError(f"data has length {length}")
            return None
        position = self._advance(length)
        return self._data[position : self.position]

    def count(self, element_bytes_min: int) -> int:
        """How many elements an array has; a null one has none. Each takes at least `element_bytes_min`."""
        return self.nullable_count(element_bytes_min) or 0

    def nullable_count(self, element_bytes_min: int) -> int | None:
        """How many elements an array has; None: it is null. Each takes at least `element_bytes_min`."""
        count = self.varint() - 1 if self._flexible else self.int32()
        if count < 0:
            if count != -1:
                raise ProtocolError(f"an array has {count} elements")
            return None
        if count * element_bytes_min > self._end - self.position:
            raise ProtocolError(f"an array of {count} elements in {self._end - self.position} bytes")
        self._elements_left -= count
        if self._elements_left < 0:
            raise ProtocolError("the arrays of a message have too many elements")
        return count

    def varint(self) -> int:
        """An unsigned one of up to 32 bits."""
        data, position = self._data, self.position
        if position < self._end and data[position] < 0x80:  # as most are
            self.position = position + 1
            return data[position]
        value = 0
        for shift in range(0, 7 * _VARINT_GROUPS_MAX, 7):
            if position >= self._end:
                raise ProtocolError(TOO_SHORT)
            group = data[position]
            position += 1
            value |= (group & 0x7F) << shift
            if group < 0x80:
                break
        else:
            raise ProtocolError("a variable-length integer is longer than 32 bits")
        if value >> 32:
            raise ProtocolError("a variable-length integer is longer than 32 bits")
        self.position = position
        return value

    def tags(self) -> "Iterator[tuple[int, RequestReader]]":
        """The tagged fields of a structure, each with a reader of its own; nothing in older versions.

        Must be gone through to the end. Whoever knows a tag reads its value; what is left of it is skipped.
        """
        if not self._flexible:
            return
        count = self.varint()
        self._elements_left -= count
        if self._elements_left < 0:
            raise ProtocolError("the tagged fields of a message are too many")
        for _ in range(count):
            tag = self.varint()
            size = self.varint()
            position = self._advance(size)
            value = RequestReader(
                self._data[position : position + size], flexible=True, elements_max=self._elements_left
            )
            yield tag, value
            self._elements_left = value._elements_left

    def only_tag(self, head: bytes, layout: Struct) -> tuple[int, ...] | None:
        """The value of a structure's only tagged field, where it is the one that `head` (`head_of_tag`) begins.

        None: there are others, or none, and nothing was read. Go through `tags`, which takes a reader for each.
        """
        position = self.position
        if not self._flexible or self._data[position : position + len(head)] != head:
            return None
        self.position = position + len(head)
        return self.unpack(layout)

    def skip_tags(self) -> None:
        # Almost always there are none, and the generator costs more than that.
        if self._flexible and self.position < self._end and self._data[self.position] == 0:
            self.position += 1
            return
        for _ in self.tags():
            pass

    def finish(self) -> None:
        """Everything must have been read."""
        if self.position != self._end:
            raise ProtocolError(f"{self._end - self.position} bytes follow the message")

    def _advance(self, size: int) -> int:
        position = self.position
        if size > self._end - position:
            raise ProtocolError(TOO_SHORT)
        self.position = position + size
        return position


# --- writing ---------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """An unsigned one."""
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def count(elements: int, *, flexible: bool) -> bytes:
    """The beginning of an array."""
    return varint(elements + 1) if flexible else _INT32.pack(elements)


def string(text: str, *, flexible: bool) -> bytes:
    data = text.encode()
    return (varint(len(data) + 1) if flexible else _INT16.pack(len(data))) + data


def nullable_string(text: str | None, *, flexible: bool) -> bytes:
    if text is None:
        return b"\0" if flexible else b"\xff\xff"
    return string(text, flexible=flexible)


@lru_cache(4_096)
def _uuid_of(data: bytes) -> UUID:
    """The same object for the same id: ids come with every fetch, and comparing two that are one costs nothing."""
    return UUID(bytes=data)


def uuid(topic_id: UUID | None) -> bytes:
    return NULL_UUID if topic_id is None else topic_id.bytes


def tagged(fields: "list[tuple[int, bytes]]") -> bytes:
    """Tagged fields, given in ascending order of their tags and without those that have their default value."""
    if not fields:
        return NO_TAGS
    pieces = [varint(len(fields))]
    for tag, data in fields:
        pieces += (varint(tag), varint(len(data)), data)
    return b"".join(pieces)


def head_of_tag(tag: int, layout: Struct) -> bytes:
    """What stands before the value of a tagged field that is the only one, for `RequestReader.only_tag`."""
    return tagged([(tag, bytes(layout.size))])[: -layout.size]
