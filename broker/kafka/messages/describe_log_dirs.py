"""DescribeLogDirs (key 35), versions 1–5: the messages."""

from broker.kafka.schema import Boolean, Int16, Int32, Int64, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 5, 2


@structure
class DescribableLogDirTopic(Structure):
    topic: String
    partitions: tuple[Int32, ...] = wire(default=())


@structure
class DescribeLogDirsRequest(Structure):
    topics: tuple[DescribableLogDirTopic, ...] | None


@structure
class DescribeLogDirsPartition(Structure):
    partition: Int32
    partition_size: Int64
    offset_lag: Int64
    is_future_key: Boolean


@structure
class DescribeLogDirsTopic(Structure):
    name: String
    partitions: tuple[DescribeLogDirsPartition, ...]


@structure
class DescribeLogDirsResult(Structure):
    error: Int16 = wire(default=0)
    log_dir: String
    topics: tuple[DescribeLogDirsTopic, ...]
    total_bytes: Int64 = wire(since=4, default=-1)
    usable_bytes: Int64 = wire(since=4, default=-1)
    is_cordoned: Boolean = wire(since=5, default=False)


@structure
class DescribeLogDirsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(since=3, default=0)
    results: tuple[DescribeLogDirsResult, ...]
