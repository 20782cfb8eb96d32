"""Kafka's names for the files of a log and of a log directory."""

SEGMENT = ".log"
OFFSET_INDEX = ".index"
TIME_INDEX = ".timeindex"
TRANSACTION_INDEX = ".txnindex"
PRODUCER_SNAPSHOT = ".snapshot"
OF_SEGMENT = (SEGMENT, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX)
DELETED = ".deleted"
TEMPORARY = ".tmp"
CLEANED = ".cleaned"
"""Of compaction: being written, or finished and not yet taken over."""
SWAP = ".swap"
"""Of compaction: takes the place of the segments that it covers, by the next start at the latest."""

LEADER_EPOCHS = "leader-epoch-checkpoint"
PARTITION_METADATA = "partition.metadata"
MAY_HAVE_GAPS = "may-have-gaps"
"""Ours: the log is or was compacted. Without it a missing offset is damage, for base offsets have no checksum."""

META_PROPERTIES = "meta.properties"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
LOCK = ".lock"
RECOVERY_POINTS = "recovery-point-offset-checkpoint"
HIGH_WATERMARKS = "replication-offset-checkpoint"
START_OFFSETS = "log-start-offset-checkpoint"
FIRST_DIRTY_OFFSETS = "cleaner-offset-checkpoint"
SCRUB_OFFSETS = "scrub-offset-checkpoint"
"""Ours, as the next one: where the scrub of a log that is under way goes on."""
SCRUB_TIMES = "scrub-time-checkpoint"
"""When each log's last scrub began, in milliseconds of the wall's clock."""
INVENTORY = "log-inventory"

NAME_BYTES_MAX = 255
"""Of a file or directory, on every file system that matters here; the names of partitions are ASCII."""

DELETED_LOG = "-delete"
FUTURE_LOG = "-future"
QUORUM_TOPIC = "__cluster_metadata"
QUORUM_LOG = f"{QUORUM_TOPIC}-0"
"""Lies in a log directory, as in Kafka, but is no partition: whoever runs the quorum opens it."""


def of_offset(offset: int, suffix: str) -> str:
    """`00000000000000000042.log`"""
    return f"{offset:020d}{suffix}"


def offset_of(name: str, suffix: str) -> int | None:
    """The offset in a file's name, or None where it is not a file of that kind."""
    digits = name.removesuffix(suffix)
    if len(digits) == len(name) - len(suffix) == 20 and digits.isascii() and digits.isdigit():
        return int(digits)
    return None


def doomed_name(name: str, number: int) -> str:
    """`my-topic-3` → `my-topic-3.0…9-delete`; a long name is cut, as Kafka's are, so that it is one of a directory."""
    suffix = f".{number % 2**128:032x}{DELETED_LOG}"
    return name[: NAME_BYTES_MAX - len(suffix)] + suffix


def has_future_name(name: str) -> bool:
    """Whether a copy could be told to replace the log of that name."""
    return len(future_name(name, 0)) <= NAME_BYTES_MAX


def future_name(name: str, number: int) -> str:
    """`my-topic-3` → `my-topic-3.0…9-future`: a copy that will replace the log of that name (KIP-113)."""
    return f"{name}.{number % 2**128:032x}{FUTURE_LOG}"


def future_of(name: str) -> str | None:
    """The log that a copy will replace, by the copy's name; None where it is no such name."""
    stem, dot, number = name.removesuffix(FUTURE_LOG).rpartition(".")
    return stem if dot and name.endswith(FUTURE_LOG) and len(number) == 32 else None


def is_partition_log(name: str) -> bool:
    """Whether a directory of that name is the log of a partition; the quorum's has a name like theirs."""
    if name == QUORUM_LOG:
        return False
    try:
        split_log_name(name)
    except ValueError:
        return False
    return True


def split_log_name(name: str) -> tuple[str, int]:
    """`my-topic-3` → (`my-topic`, 3). Raises `ValueError` for anything else."""
    topic, dash, partition = name.rpartition("-")
    if not (topic and dash and partition.isascii() and partition.isdigit()):
        raise ValueError(f"{name!r} is not the name of a partition")
    return topic, int(partition)
