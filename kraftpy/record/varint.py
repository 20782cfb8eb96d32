"""Variable-length integers of a record: zigzag, then base 128 with the least significant group first.

Zigzag maps small negative numbers to small unsigned ones (0, -1, 1, -2 become 0, 1, 2, 3); an int32 takes at most five
bytes, an int64 at most ten. The reader of batches unrolls the one-byte case by hand, which is why `continue_varint`
starts from a first byte.
"""

from kraftpy.errors import InvalidRecordError

_ONE_BYTE = tuple(bytes((value,)) for value in range(128))
_GROUPS_MAX = 10


def encode_varint(value: int) -> bytes:
    """The bytes of a signed integer of up to 64 bits."""
    zigzag = value << 1 if value >= 0 else ~(value << 1)
    if zigzag < 0x80:
        return _ONE_BYTE[zigzag]
    if zigzag < 0x4000:
        return bytes((zigzag & 0x7F | 0x80, zigzag >> 7))
    encoded = bytearray()
    while zigzag >= 0x80:
        encoded.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    encoded.append(zigzag)
    return bytes(encoded)


def varint_size(value: int) -> int:
    """How many bytes `encode_varint` gives."""
    zigzag = value << 1 if value >= 0 else ~(value << 1)
    return max(1, (zigzag.bit_length() + 6) // 7)


def decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """The signed integer at `position` and the position after it.

    Raises `IndexError` where `data` ends inside it and `InvalidRecordError` where it is longer than an int64.
    """
    zigzag = data[position]
    position += 1
    if zigzag >= 0x80:
        zigzag, position = continue_varint(data, position, zigzag)
    return (zigzag >> 1) ^ -(zigzag & 1), position


def continue_varint(data: bytes, position: int, first: int) -> tuple[int, int]:
    """The unsigned (still zigzag) value of which `first`, the byte before `position`, is the first group."""
    value = first & 0x7F
    for shift in range(7, 7 * _GROUPS_MAX, 7):
        group = data[position]
        position += 1
        value |= (group & 0x7F) << shift
        if group < 0x80:
            if value >> 64:
                break
            return value, position
    raise InvalidRecordError("a variable-length integer is longer than 64 bits")
