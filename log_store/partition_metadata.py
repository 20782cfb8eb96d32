"""Whose a log is: the file `partition.metadata` in its directory, as Kafka writes it (KIP-516)."""

from uuid import UUID

from kraftpy.runtime.ports import Disk
from log_store.checkpoints import decode_topic_id, encode_topic_id
from log_store.file_names import PARTITION_METADATA


def topic_id_in(disk: Disk, directory: str) -> UUID | None:
    """None where it is missing, empty, or nothing but zeros: the machine died before the log's first flush, or the disk
    has lost it since. Raises `OSError`, `CorruptCheckpointError`."""
    path = f"{directory}/{PARTITION_METADATA}"
    data = disk.read_bytes(path) if disk.exists(path) else b""
    return None if data.count(0) == len(data) else decode_topic_id(data)


def write_topic_id(disk: Disk, directory: str, topic_id: UUID) -> None:
    """Durable when it returns. Blocks. Raises `OSError`."""
    disk.write_atomically(f"{directory}/{PARTITION_METADATA}", encode_topic_id(topic_id))
