"""What can be chosen by name. Nothing heavy is imported here: `kraftpy --help` reads it."""

from enum import StrEnum


class DoorName(StrEnum):
    """A door of a cluster, and the client that goes through it."""

    GRPC = "grpc"
    KAFKA = "kafka"


class Acks(StrEnum):
    ALL = "all"
    ONE = "1"
    NONE = "0"


class Compression(StrEnum):
    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"
