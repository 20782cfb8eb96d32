"""DescribeCluster (key 60), versions 0–2: the messages."""

from broker.kafka.schema import Boolean, Int8, Int16, Int32, NullableString, String, Structure, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 2, 0


@structure
class DescribeClusterRequest(Structure):
    include_cluster_authorized_operations: Boolean
    endpoint_type: Int8 = wire(since=1, default=1)
    include_fenced_brokers: Boolean = wire(since=2, default=False)


@structure
class DescribeClusterBroker(Structure):
    broker_id: Int32
    host: String
    port: Int32
    rack: NullableString = wire(default=None)
    is_fenced: Boolean = wire(since=2, default=False)


@structure
class DescribeClusterResponse(Structure):
    throttle_ms: Int32 = wire(default=0)
    error: Int16 = wire(default=0)
    error_message: NullableString = wire(default=None)
    endpoint_type: Int8 = wire(since=1, default=1)
    cluster_id: String
    controller_id: Int32 = wire(default=-1)
    brokers: tuple[DescribeClusterBroker, ...]
    cluster_authorized_operations: Int32 = wire(default=-2147483648)
