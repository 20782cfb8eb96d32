"""AlterReplicaLogDirs (key 34), versions 1–2: the messages."""

from broker.kafka.schema import Int16, Int32, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 2, 2


@structure
class AlterReplicaLogDirTopic(Structure):
    name: String
    partitions: tuple[Int32, ...] = wire(default=())


@structure
class AlterReplicaLogDir(Structure):
    path: String
    topics: tuple[AlterReplicaLogDirTopic, ...]


@structure
class AlterReplicaLogDirsRequest(Structure):
    dirs: tuple[AlterReplicaLogDir, ...]


@structure
class AlterReplicaLogDirPartitionResult(Structure):
    partition: Int32
    error: Int16 = wire(default=0)


@structure
class AlterReplicaLogDirTopicResult(Structure):
    topic_name: String
    partitions: tuple[AlterReplicaLogDirPartitionResult, ...]


@structure
class AlterReplicaLogDirsResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    results: tuple[AlterReplicaLogDirTopicResult, ...]
