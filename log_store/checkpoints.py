"""The small text files beside the logs, in Kafka's formats; pure: bytes in, bytes out.

All of them are written by `Disk.write_atomically` (KAFKA-16541), so what is found is whole, or was damaged later: a
reader raises `CorruptCheckpointError`, and its caller decides whether the file can be done without.

Those that say where a log begins, what stands in it and whose it is end with a line that Kafka's do not have, their
CRC-32C: one bit makes 4 of 0, and a replica that begins later for it could be elected. Without that line a file is
Kafka's, or an older kraftpy's, and believed.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from kraftpy.record.checksum import crc32c
from log_store.leader_epochs import EpochStart

_CHECKSUM = b"#crc32c "


class CorruptCheckpointError(ValueError):
    """A checkpoint file does not parse. Its message names the line."""


# --- offsets by partition (recovery points, high watermarks, start offsets) -------------------------------------------


def encode_offsets(offsets: Mapping[str, int]) -> bytes:
    """`offsets` by log name (`topic-0`), written as `topic partition offset` a line."""
    return _encode_lines(f"{name.rpartition('-')[0]} {name.rpartition('-')[2]} {offsets[name]}" for name in offsets)


def decode_offsets(data: bytes) -> dict[str, int]:
    offsets = {}
    for line in _decode_lines(data):
        match line.split():
            case [topic, partition, offset]:
                offsets[f"{topic}-{_number(partition, line)}"] = _number(offset, line)
            case _:
                raise CorruptCheckpointError(f"expected 'topic partition offset', found {line!r}")
    return offsets


# --- inventory (which logs were made, and where) ----------------------------------------------------------------------


def inventory_line(key: tuple[UUID, int], directory_id: UUID) -> str:
    """That the log of `key`, a topic id and a partition, was made in this directory."""
    return f"{uuid_text(key[0])} {key[1]} {uuid_text(directory_id)}"


def encode_inventory(lines: Iterable[str]) -> bytes:
    """Of `inventory_line`s: whoever writes often keeps them made."""
    return _encode_lines(lines)


def decode_inventory(data: bytes) -> dict[tuple[UUID, int], UUID]:
    entries = {}
    for line in _decode_lines(data):
        match line.split():
            case [topic_id, partition, directory_id]:
                entries[parse_uuid(topic_id), _number(partition, line)] = parse_uuid(directory_id)
            case _:
                raise CorruptCheckpointError(f"expected 'topic-id partition directory-id', found {line!r}")
    return entries


# --- leader epochs ----------------------------------------------------------------------------------------------------


def encode_epochs(entries: Sequence[EpochStart]) -> bytes:
    return _encode_lines(f"{epoch} {start_offset}" for epoch, start_offset in entries)


def decode_epochs(data: bytes) -> list[EpochStart]:
    entries: list[EpochStart] = []
    for line in _decode_lines(data):
        match line.split():
            case [epoch, start_offset]:
                entry = EpochStart(_number(epoch, line), _number(start_offset, line))
            case _:
                raise CorruptCheckpointError(f"expected 'epoch offset', found {line!r}")
        if entries and not (entries[-1].epoch < entry.epoch and entries[-1].start_offset <= entry.start_offset):
            raise CorruptCheckpointError(f"epochs and their start offsets must ascend, found {line!r}")
        entries.append(entry)
    return entries


# --- partition.metadata -----------------------------------------------------------------------------------------------


def encode_topic_id(topic_id: UUID) -> bytes:
    return _with_checksum(f"version: 0\ntopic_id: {uuid_text(topic_id)}\n".encode())


def decode_topic_id(data: bytes) -> UUID:
    values = _decode_pairs(_checked(data), ":")
    if values.get("version") != "0" or "topic_id" not in values:
        raise CorruptCheckpointError("partition.metadata has no version 0 with a topic_id")
    return parse_uuid(values["topic_id"])


# --- meta.properties --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MetaProperties:
    """Whose directory this is. `cluster_id` and `node_id` are None until the node has a cluster."""

    directory_id: UUID
    cluster_id: str | None = None
    node_id: int | None = None


def encode_meta_properties(properties: MetaProperties) -> bytes:
    lines = ["#"]
    if properties.cluster_id is not None:
        lines.append(f"cluster.id={properties.cluster_id}")
    lines.append(f"directory.id={uuid_text(properties.directory_id)}")
    if properties.node_id is not None:
        lines.append(f"node.id={properties.node_id}")
    lines.append("version=1")
    return ("\n".join(lines) + "\n").encode()


def decode_meta_properties(data: bytes) -> MetaProperties:
    values = _decode_pairs(data, "=")
    if values.get("version") != "1" or "directory.id" not in values:
        raise CorruptCheckpointError("meta.properties has no version=1 with a directory.id")
    node_id = values.get("node.id")
    return MetaProperties(
        directory_id=parse_uuid(values["directory.id"]),
        cluster_id=values.get("cluster.id"),
        node_id=None if node_id is None else _number(node_id, f"node.id={node_id}"),
    )


# --- clean shutdown ---------------------------------------------------------------------------------------------------


def encode_clean_shutdown(broker_epoch: int) -> bytes:
    """The marker of a clean stop holds the broker epoch that ended so (KIP-966); -1: none."""
    return f'{{"version":0,"brokerEpoch":{broker_epoch}}}'.encode()


def decode_clean_shutdown(data: bytes) -> int:
    prefix, suffix = b'{"version":0,"brokerEpoch":', b"}"
    number = data.strip()[len(prefix) : -len(suffix)]
    if data.strip() != prefix + number + suffix:
        raise CorruptCheckpointError("the clean shutdown marker is not the expected JSON")
    return _number(number.decode(errors="replace"), "brokerEpoch")


# --- ids --------------------------------------------------------------------------------------------------------------


def uuid_text(value: UUID) -> str:
    """Kafka's way to write ids: 22 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(value.bytes).decode().rstrip("=")


def parse_uuid(text: str) -> UUID:
    try:
        return UUID(bytes=base64.b64decode(text + "==", altchars=b"-_", validate=True))
    except ValueError:
        raise CorruptCheckpointError(f"{text!r} is not an id in base64") from None


# --- helpers ----------------------------------------------------------------------------------------------------------


def _encode_lines(lines: Iterable[str]) -> bytes:
    written = list(lines)
    return _with_checksum("\n".join(["0", str(len(written)), *written, ""]).encode())


def _with_checksum(data: bytes) -> bytes:
    return data + _CHECKSUM + b"%08x\n" % crc32c(data)


def _checked(data: bytes) -> bytes:
    """Without its checksum, where it has one."""
    body, begins, checksum = data.rpartition(_CHECKSUM)
    if not begins:
        return data
    if checksum != b"%08x\n" % crc32c(body):
        raise CorruptCheckpointError("the checksum in the last line does not fit")
    return body


def _decode_lines(data: bytes) -> list[str]:
    data = _checked(data)
    version, count, *lines = [*_text(data).split("\n"), "", ""][:-1] if data else ["", ""]
    while lines and not lines[-1]:
        lines.pop()
    if version.strip() != "0":
        raise CorruptCheckpointError(f"expected version 0 in the first line, found {version!r}")
    if _number(count, count) != len(lines):
        raise CorruptCheckpointError(f"expected {count} entries, found {len(lines)}")
    return lines


def _decode_pairs(data: bytes, separator: str) -> dict[str, str]:
    pairs = {}
    for line in _text(data).splitlines():
        if line.strip() and not line.startswith("#"):
            key, found, value = line.partition(separator)
            if not found:
                raise CorruptCheckpointError(f"expected 'key{separator}value', found {line!r}")
            pairs[key.strip()] = value.strip()
    return pairs


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise CorruptCheckpointError("not a text file") from None


def _number(text: str, line: str) -> int:
    digits = text.strip()
    if not (digits.removeprefix("-").isascii() and digits.removeprefix("-").isdigit()):
        raise CorruptCheckpointError(f"expected a number in {line!r}")
    return int(digits)
