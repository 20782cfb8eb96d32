"""ConsumerGroupDescribe (key 69), versions 0–1: the messages (KIP-848)."""

from broker.kafka.authorized import NOT_ASKED
from broker.kafka.schema import Boolean, Int8, Int16, Int32, NullableString, String, Structure, Uuid, structure, wire

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 1, 0

CLASSIC_MEMBER, CONSUMER_MEMBER = 0, 1


@structure
class ConsumerGroupDescribeRequest(Structure):
    group_ids: tuple[String, ...]
    include_authorized_operations: Boolean


@structure
class DescribedTopic(Structure):
    topic_id: Uuid
    topic_name: String
    partitions: tuple[Int32, ...]


@structure
class DescribedAssignment(Structure):
    topic_partitions: tuple[DescribedTopic, ...] = ()


@structure
class DescribedConsumer(Structure):
    member_id: String
    instance_id: NullableString
    rack_id: NullableString
    member_epoch: Int32
    client_id: String
    client_host: String
    subscribed_topics: tuple[String, ...]
    subscribed_regex: NullableString
    assignment: DescribedAssignment
    target_assignment: DescribedAssignment
    member_type: Int8 = wire(since=1, default=-1)
    """0: it speaks the classic protocol, 1: the consumer protocol, -1: not known."""


@structure
class DescribedConsumerGroup(Structure):
    error: Int16
    error_message: NullableString = None
    group_id: String
    state: String = ""
    group_epoch: Int32 = 0
    assignment_epoch: Int32 = 0
    assignor_name: String = ""
    members: tuple[DescribedConsumer, ...] = ()
    authorized_operations: Int32 = NOT_ASKED


@structure
class ConsumerGroupDescribeResponse(Structure):
    throttle_ms: Int32 = 0
    groups: tuple[DescribedConsumerGroup, ...]
