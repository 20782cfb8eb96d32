"""Every error that kraftpy raises on purpose, in one tree.

    KraftpyError                          catch this to catch them all
    ├── RetriableError                    the same call may succeed later, unchanged
    │   ├── StaleMetadataError            … once the caller has asked anew who leads: NotLeaderOrFollowerError, …
    │   └── RequestTimedOutError, NotEnoughReplicasError, NotControllerError, …
    ├── AuthorizationError                the user may not: TopicAuthorizationFailedError, …
    ├── AuthenticationError               the user could not prove who they are: SaslAuthenticationFailedError, …
    ├── ClientError                       raised in the user's own process; no server ever sends one
    │   ├── DeliveryTimeoutError, CallTimeoutError      (TimeoutErrors as well)
    │   └── SerializationError, BufferExhaustedError, ClosedError, …
    └── OffsetOutOfRangeError, UnknownServerError, …    the rest of Kafka's errors

Names are Kafka's (`OffsetOutOfRangeError.name == "OFFSET_OUT_OF_RANGE"`), and so is what can be retried. Their numbers
on the wire are in `kraftpy.error_codes` and nowhere else.

Invariants: a class has one name and a name has one class; `retriable` is a property of the class; the docstring is the
message of an error that is raised without one.
"""

import copyreg
from typing import Any, ClassVar

MESSAGE_CHARACTERS_MAX = 4_000
"""A string in Kafka's older answers holds 32,767 bytes."""


class KraftpyError(Exception):
    """Something that kraftpy was asked to do could not be done."""

    name: ClassVar[str] = "KRAFTPY_ERROR"
    """Kafka's name of the error; for errors of the client, one in the same manner."""
    retriable: ClassVar[bool] = False
    """Whether the same call, unchanged, may succeed later."""

    def __init_subclass__(cls, *, name: str | None = None, retriable: bool | None = None) -> None:
        super().__init_subclass__()
        if name is not None:
            cls.name = name
        if retriable is not None:
            cls.retriable = retriable

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.__doc__ or self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        """By what it holds: some classes make their message of other things, which `__init__` would want again. An
        error that cannot be unpickled hangs a pool of processes."""
        return copyreg.__newobj__, (type(self),), {**self.__dict__, "args": self.args}  # type: ignore[attr-defined]

    @property
    def message(self) -> str:
        """The sentence that says what happened; cut where it names something endless, so that every answer holds it."""
        return str(self)[:MESSAGE_CHARACTERS_MAX]


class RetriableError(KraftpyError, name="RETRIABLE", retriable=True):
    """The call failed for a reason that passes."""


class StaleMetadataError(RetriableError, name="STALE_METADATA"):
    """The caller's picture of the cluster is out of date; ask for the metadata and try again."""


class AuthorizationError(KraftpyError, name="AUTHORIZATION_FAILED"):
    """The user may not do this."""


class AuthenticationError(KraftpyError, name="AUTHENTICATION_FAILED"):
    """The user could not be authenticated."""


class ClientError(KraftpyError, name="CLIENT_ERROR"):
    """Something in the user's own process stands in the way."""


# --- the client's own ------------------------------------------------------------------------------------------------


class DeliveryTimeoutError(ClientError, TimeoutError, name="DELIVERY_TIMEOUT"):
    """The record was not acknowledged within delivery_timeout_ms; whether it was written is not known."""


class CallTimeoutError(ClientError, TimeoutError, name="CALL_TIMEOUT", retriable=True):
    """The call was not answered in its time."""


class NoBrokersAvailableError(ClientError, name="NO_BROKERS_AVAILABLE", retriable=True):
    """None of the bootstrap addresses answers."""


class BufferExhaustedError(ClientError, name="BUFFER_EXHAUSTED", retriable=True):
    """buffer_memory is full and stayed so for max_block_ms: records come faster than they can be delivered."""


class SerializationError(ClientError, name="SERIALIZATION"):
    """A key or value could not be turned into bytes, or back."""


class ConfigurationError(ClientError, ValueError, name="CONFIGURATION"):
    """A setting of the client is unknown or has a value that cannot be."""


class ClosedError(ClientError, name="CLOSED"):
    """The producer, consumer or admin has been closed."""


class ConcurrentUseError(ClientError, name="CONCURRENT_USE"):
    """A consumer was used from two threads or tasks at once; it belongs to one."""


class NotAssignedError(ClientError, name="NOT_ASSIGNED"):
    """The partition is not assigned to this consumer."""


class CommitFailedError(ClientError, name="COMMIT_FAILED"):
    """The group has given this consumer's partitions to others; its offsets were not committed."""


class SubscriptionError(ClientError, name="SUBSCRIPTION"):
    """A consumer of a group either subscribes or is assigned partitions by hand; unsubscribe in between. Or nothing was
    ever subscribed to or assigned, and there is nothing to poll for."""


class TransactionAbortedError(ClientError, name="TRANSACTION_ABORTED"):
    """The transaction was aborted before the record was sent."""


class NoOffsetForPartitionError(ClientError, name="NO_OFFSET_FOR_PARTITION"):
    """There is no position to start from and auto_offset_reset is none."""


class FatalProducerError(ClientError, name="FATAL_PRODUCER"):
    """An earlier failure left the producer unable to go on without risking duplicates or a changed order."""


# --- Kafka's, in the order of their codes ----------------------------------------------------------------------------


class UnknownServerError(KraftpyError, name="UNKNOWN_SERVER_ERROR"):
    """The server failed in a way that it did not expect; its log says how."""


class OffsetOutOfRangeError(KraftpyError, name="OFFSET_OUT_OF_RANGE"):
    """The offset is below the start of the log or beyond its end."""


class CorruptRecordError(RetriableError, name="CORRUPT_MESSAGE"):
    """A record batch fails its checksum, has a length that cannot be, or is otherwise damaged."""


class UnknownTopicOrPartitionError(StaleMetadataError, name="UNKNOWN_TOPIC_OR_PARTITION"):
    """This server does not host this topic-partition; it may not exist, or just not yet."""


class InvalidFetchSizeError(KraftpyError, name="INVALID_FETCH_SIZE"):
    """The requested fetch size is not valid."""


class LeaderNotAvailableError(StaleMetadataError, name="LEADER_NOT_AVAILABLE"):
    """The partition has no leader at the moment, for instance in the middle of an election."""


class NotLeaderOrFollowerError(StaleMetadataError, name="NOT_LEADER_OR_FOLLOWER"):
    """For produce: this broker does not lead the partition; for fetch: it holds no replica of it."""


class RequestTimedOutError(RetriableError, name="REQUEST_TIMED_OUT"):
    """The request was not completed in its time; whether it took effect is not known."""


class BrokerNotAvailableError(KraftpyError, name="BROKER_NOT_AVAILABLE"):
    """The broker is not available."""


class ReplicaNotAvailableError(StaleMetadataError, name="REPLICA_NOT_AVAILABLE"):
    """The replica is not available on this broker."""


class RecordTooLargeError(KraftpyError, name="MESSAGE_TOO_LARGE"):
    """The batch is larger than the topic's max.message.bytes accepts."""


class StaleControllerEpochError(KraftpyError, name="STALE_CONTROLLER_EPOCH"):
    """The controller has moved to a later epoch."""


class OffsetMetadataTooLargeError(KraftpyError, name="OFFSET_METADATA_TOO_LARGE"):
    """The metadata of a committed offset is larger than the broker accepts."""


class NetworkError(StaleMetadataError, name="NETWORK_EXCEPTION"):
    """The connection broke before an answer came."""


class CoordinatorLoadInProgressError(RetriableError, name="COORDINATOR_LOAD_IN_PROGRESS"):
    """The coordinator is still loading its state."""


class CoordinatorNotAvailableError(RetriableError, name="COORDINATOR_NOT_AVAILABLE"):
    """The coordinator is not available."""


class NotCoordinatorError(RetriableError, name="NOT_COORDINATOR"):
    """This broker is not the coordinator that was asked for."""


class InvalidTopicError(KraftpyError, name="INVALID_TOPIC_EXCEPTION"):
    """The topic's name is not valid, or the operation is not allowed on this topic."""


class RecordListTooLargeError(KraftpyError, name="RECORD_LIST_TOO_LARGE"):
    """The request holds more records than a segment of the log can."""


class NotEnoughReplicasError(RetriableError, name="NOT_ENOUGH_REPLICAS"):
    """Fewer replicas are in sync than min.insync.replicas asks for; nothing was written."""


class NotEnoughReplicasAfterAppendError(RetriableError, name="NOT_ENOUGH_REPLICAS_AFTER_APPEND"):
    """The records were written, but to fewer in-sync replicas than min.insync.replicas asks for."""


class InvalidRequiredAcksError(KraftpyError, name="INVALID_REQUIRED_ACKS"):
    """acks must be -1 (all), 0 or 1."""


class IllegalGenerationError(KraftpyError, name="ILLEGAL_GENERATION"):
    """The group's generation is not the current one."""


class InconsistentGroupProtocolError(KraftpyError, name="INCONSISTENT_GROUP_PROTOCOL"):
    """The member's protocol type or protocols do not fit those of the group."""


class InvalidGroupIdError(KraftpyError, name="INVALID_GROUP_ID"):
    """The group id is not valid."""


class UnknownMemberIdError(KraftpyError, name="UNKNOWN_MEMBER_ID"):
    """The group has no member of this id."""


class InvalidSessionTimeoutError(KraftpyError, name="INVALID_SESSION_TIMEOUT"):
    """The session timeout is outside the range that the broker allows."""


class RebalanceInProgressError(KraftpyError, name="REBALANCE_IN_PROGRESS"):
    """The group is rebalancing; the member has to join again."""


class InvalidCommitOffsetSizeError(KraftpyError, name="INVALID_COMMIT_OFFSET_SIZE"):
    """The offset to commit is larger than the broker accepts."""


class TopicAuthorizationFailedError(AuthorizationError, name="TOPIC_AUTHORIZATION_FAILED"):
    """The user may not do this with the topic."""


class GroupAuthorizationFailedError(AuthorizationError, name="GROUP_AUTHORIZATION_FAILED"):
    """The user may not do this with the group."""


class ClusterAuthorizationFailedError(AuthorizationError, name="CLUSTER_AUTHORIZATION_FAILED"):
    """The user, or the caller's node, may not do this with the cluster."""


class InvalidTimestampError(KraftpyError, name="INVALID_TIMESTAMP"):
    """A record's timestamp is outside the range that the topic allows."""


class UnsupportedSaslMechanismError(AuthenticationError, name="UNSUPPORTED_SASL_MECHANISM"):
    """The broker does not offer the requested SASL mechanism."""


class IllegalSaslStateError(AuthenticationError, name="ILLEGAL_SASL_STATE"):
    """The request is not allowed in this state of the authentication."""


class UnsupportedVersionError(KraftpyError, name="UNSUPPORTED_VERSION"):
    """The version of the request, or a feature it needs, is not supported here."""


class TopicAlreadyExistsError(KraftpyError, name="TOPIC_ALREADY_EXISTS"):
    """A topic of this name exists already."""


class InvalidPartitionsError(KraftpyError, name="INVALID_PARTITIONS"):
    """The number of partitions is not valid."""


class InvalidReplicationFactorError(KraftpyError, name="INVALID_REPLICATION_FACTOR"):
    """The replication factor is below 1 or above the number of brokers."""


class InvalidReplicaAssignmentError(KraftpyError, name="INVALID_REPLICA_ASSIGNMENT"):
    """The assignment of replicas is not valid."""


class InvalidConfigError(KraftpyError, name="INVALID_CONFIG"):
    """A setting's name or value is not valid."""


class NotControllerError(RetriableError, name="NOT_CONTROLLER"):
    """This node is not the active controller."""


class InvalidRequestError(KraftpyError, name="INVALID_REQUEST"):
    """The request contradicts itself or the protocol."""


class UnsupportedForMessageFormatError(KraftpyError, name="UNSUPPORTED_FOR_MESSAGE_FORMAT"):
    """The log's message format does not support the request; only format version 2 is served."""


class PolicyViolationError(KraftpyError, name="POLICY_VIOLATION"):
    """The request violates a policy of the cluster."""


class OutOfOrderSequenceError(KraftpyError, name="OUT_OF_ORDER_SEQUENCE_NUMBER"):
    """The batch's sequence does not follow the producer's last one: something before it is missing."""


class DuplicateSequenceError(KraftpyError, name="DUPLICATE_SEQUENCE_NUMBER"):
    """The producer sent a sequence that was written already."""


class InvalidProducerEpochError(KraftpyError, name="INVALID_PRODUCER_EPOCH"):
    """The producer's epoch is older than one that the broker has seen."""


class InvalidTxnStateError(KraftpyError, name="INVALID_TXN_STATE"):
    """The transaction is not in a state that allows this operation."""


class InvalidProducerIdMappingError(KraftpyError, name="INVALID_PRODUCER_ID_MAPPING"):
    """The producer id does not belong to this transactional id."""


class InvalidTransactionTimeoutError(KraftpyError, name="INVALID_TRANSACTION_TIMEOUT"):
    """The transaction timeout is larger than transaction.max.timeout.ms."""


class ConcurrentTransactionsError(RetriableError, name="CONCURRENT_TRANSACTIONS"):
    """Another operation on this transaction has not finished yet."""


class TransactionCoordinatorFencedError(KraftpyError, name="TRANSACTION_COORDINATOR_FENCED"):
    """The transaction coordinator that wrote this marker has been replaced by a newer one."""


class TransactionalIdAuthorizationFailedError(AuthorizationError, name="TRANSACTIONAL_ID_AUTHORIZATION_FAILED"):
    """The user may not use this transactional id."""


class SecurityDisabledError(KraftpyError, name="SECURITY_DISABLED"):
    """Security features are switched off."""


class OperationNotAttemptedError(KraftpyError, name="OPERATION_NOT_ATTEMPTED"):
    """The operation was not tried, because another part of the request failed."""


class KafkaStorageError(StaleMetadataError, name="KAFKA_STORAGE_ERROR"):
    """The broker cannot read or write the partition's files; its log directory is out of service."""


class LogDirNotFoundError(KraftpyError, name="LOG_DIR_NOT_FOUND"):
    """The broker has no log directory of this path."""


class SaslAuthenticationFailedError(AuthenticationError, name="SASL_AUTHENTICATION_FAILED"):
    """Authentication failed; check user name, password and mechanism."""


class UnknownProducerIdError(KraftpyError, name="UNKNOWN_PRODUCER_ID"):
    """The broker no longer knows this producer id: its records have been deleted by retention."""


class ReassignmentInProgressError(KraftpyError, name="REASSIGNMENT_IN_PROGRESS"):
    """A reassignment of the partition is in progress."""


class DelegationTokenAuthDisabledError(KraftpyError, name="DELEGATION_TOKEN_AUTH_DISABLED"):
    """Delegation tokens are switched off."""


class DelegationTokenNotFoundError(KraftpyError, name="DELEGATION_TOKEN_NOT_FOUND"):
    """There is no such delegation token."""


class DelegationTokenOwnerMismatchError(KraftpyError, name="DELEGATION_TOKEN_OWNER_MISMATCH"):
    """The delegation token belongs to somebody else."""


class DelegationTokenRequestNotAllowedError(KraftpyError, name="DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"):
    """Delegation tokens can be requested over authenticated channels only."""


class DelegationTokenAuthorizationFailedError(AuthorizationError, name="DELEGATION_TOKEN_AUTHORIZATION_FAILED"):
    """The user may not do this with delegation tokens."""


class DelegationTokenExpiredError(KraftpyError, name="DELEGATION_TOKEN_EXPIRED"):
    """The delegation token has expired."""


class InvalidPrincipalTypeError(KraftpyError, name="INVALID_PRINCIPAL_TYPE"):
    """This type of principal is not supported."""


class NonEmptyGroupError(KraftpyError, name="NON_EMPTY_GROUP"):
    """The group still has members."""


class GroupIdNotFoundError(KraftpyError, name="GROUP_ID_NOT_FOUND"):
    """There is no group of this id."""


class FetchSessionIdNotFoundError(RetriableError, name="FETCH_SESSION_ID_NOT_FOUND"):
    """The fetch session is not, or no longer, in the broker's cache."""


class InvalidFetchSessionEpochError(RetriableError, name="INVALID_FETCH_SESSION_EPOCH"):
    """The fetch session's epoch is not the expected one."""


class ListenerNotFoundError(StaleMetadataError, name="LISTENER_NOT_FOUND"):
    """The leader has no listener of the name on which the request came in."""


class TopicDeletionDisabledError(KraftpyError, name="TOPIC_DELETION_DISABLED"):
    """delete.topic.enable is false."""


class FencedLeaderEpochError(StaleMetadataError, name="FENCED_LEADER_EPOCH"):
    """The request carries an older leader epoch than the broker's."""


class UnknownLeaderEpochError(RetriableError, name="UNKNOWN_LEADER_EPOCH"):
    """The request carries a newer leader epoch than the broker has heard of."""


class UnsupportedCompressionTypeError(KraftpyError, name="UNSUPPORTED_COMPRESSION_TYPE"):
    """The request or the broker does not support this compression."""


class StaleBrokerEpochError(KraftpyError, name="STALE_BROKER_EPOCH"):
    """The broker has registered anew since: this epoch belongs to an earlier life of it."""


class OffsetNotAvailableError(RetriableError, name="OFFSET_NOT_AVAILABLE"):
    """The leader was elected so recently that its high watermark may still be behind its epoch."""


class MemberIdRequiredError(KraftpyError, name="MEMBER_ID_REQUIRED"):
    """The member has to join again with the member id that it was given."""


class PreferredLeaderNotAvailableError(StaleMetadataError, name="PREFERRED_LEADER_NOT_AVAILABLE"):
    """The preferred leader is not alive or not in sync."""


class GroupMaxSizeReachedError(KraftpyError, name="GROUP_MAX_SIZE_REACHED"):
    """The group has as many members as group.max.size allows."""


class FencedInstanceIdError(KraftpyError, name="FENCED_INSTANCE_ID"):
    """Another member uses the same group.instance.id."""


class EligibleLeadersNotAvailableError(StaleMetadataError, name="ELIGIBLE_LEADERS_NOT_AVAILABLE"):
    """No replica that may lead is alive."""


class ElectionNotNeededError(StaleMetadataError, name="ELECTION_NOT_NEEDED"):
    """The partition has the leader that an election would give."""


class NoReassignmentInProgressError(KraftpyError, name="NO_REASSIGNMENT_IN_PROGRESS"):
    """No reassignment of the partition is in progress."""


class GroupSubscribedToTopicError(KraftpyError, name="GROUP_SUBSCRIBED_TO_TOPIC"):
    """Offsets cannot be deleted while the group is subscribed to the topic."""


class InvalidRecordError(KraftpyError, name="INVALID_RECORD"):
    """A record breaks a rule of its topic or of the format, so the whole batch is refused."""


class UnstableOffsetCommitError(RetriableError, name="UNSTABLE_OFFSET_COMMIT"):
    """Some offsets belong to a transaction that has not finished."""


class ThrottlingQuotaExceededError(RetriableError, name="THROTTLING_QUOTA_EXCEEDED"):
    """A quota was exceeded; try again after the throttle time."""


class ProducerFencedError(KraftpyError, name="PRODUCER_FENCED"):
    """A newer producer with the same transactional id has taken over."""


class ResourceNotFoundError(KraftpyError, name="RESOURCE_NOT_FOUND"):
    """What the request refers to does not exist."""


class DuplicateResourceError(KraftpyError, name="DUPLICATE_RESOURCE"):
    """What the request would create exists already."""


class UnacceptableCredentialError(KraftpyError, name="UNACCEPTABLE_CREDENTIAL"):
    """The credential does not meet what is required of it."""


class InconsistentVoterSetError(KraftpyError, name="INCONSISTENT_VOTER_SET"):
    """The sender or the receiver is not a voter of the quorum."""


class InvalidUpdateVersionError(KraftpyError, name="INVALID_UPDATE_VERSION"):
    """The update is based on an older version of the state than the current one."""


class FeatureUpdateFailedError(KraftpyError, name="FEATURE_UPDATE_FAILED"):
    """A feature could not be updated."""


class PrincipalDeserializationFailureError(KraftpyError, name="PRINCIPAL_DESERIALIZATION_FAILURE"):
    """A forwarded request carries a principal that cannot be decoded."""


class SnapshotNotFoundError(KraftpyError, name="SNAPSHOT_NOT_FOUND"):
    """The quorum has no snapshot of this id."""


class PositionOutOfRangeError(KraftpyError, name="POSITION_OUT_OF_RANGE"):
    """The position lies outside the snapshot."""


class UnknownTopicIdError(StaleMetadataError, name="UNKNOWN_TOPIC_ID"):
    """This server does not know the topic id."""


class DuplicateBrokerRegistrationError(KraftpyError, name="DUPLICATE_BROKER_REGISTRATION"):
    """Another live broker is registered under this id."""


class BrokerIdNotRegisteredError(KraftpyError, name="BROKER_ID_NOT_REGISTERED"):
    """No broker is registered under this id."""


class InconsistentTopicIdError(StaleMetadataError, name="INCONSISTENT_TOPIC_ID"):
    """The topic id in the request differs from the one in the log."""


class InconsistentClusterIdError(KraftpyError, name="INCONSISTENT_CLUSTER_ID"):
    """The request is meant for another cluster."""


class TransactionalIdNotFoundError(KraftpyError, name="TRANSACTIONAL_ID_NOT_FOUND"):
    """There is no transaction of this transactional id."""


class FetchSessionTopicIdError(RetriableError, name="FETCH_SESSION_TOPIC_ID_ERROR"):
    """The fetch session mixes requests with topic ids and requests with topic names."""


class IneligibleReplicaError(KraftpyError, name="INELIGIBLE_REPLICA"):
    """The replica may not join the in-sync replicas: it is fenced, shutting down or of an older broker epoch."""


class NewLeaderElectedError(KraftpyError, name="NEW_LEADER_ELECTED"):
    """The change of the in-sync replicas has elected another leader."""


class OffsetMovedToTieredStorageError(KraftpyError, name="OFFSET_MOVED_TO_TIERED_STORAGE"):
    """The offset has been moved to tiered storage."""


class FencedMemberEpochError(KraftpyError, name="FENCED_MEMBER_EPOCH"):
    """The member's epoch is not the one that the group coordinator expects."""


class UnreleasedInstanceIdError(KraftpyError, name="UNRELEASED_INSTANCE_ID"):
    """Another member of the group still uses this instance id."""


class UnsupportedAssignorError(KraftpyError, name="UNSUPPORTED_ASSIGNOR"):
    """The group coordinator does not offer this assignor."""


class StaleMemberEpochError(KraftpyError, name="STALE_MEMBER_EPOCH"):
    """The member's epoch is old; it has to be renewed by a heartbeat first."""


class MismatchedEndpointTypeError(KraftpyError, name="MISMATCHED_ENDPOINT_TYPE"):
    """The request went to an endpoint of the other kind (broker or controller)."""


class UnsupportedEndpointTypeError(KraftpyError, name="UNSUPPORTED_ENDPOINT_TYPE"):
    """This kind of endpoint is not supported."""


class UnknownControllerIdError(KraftpyError, name="UNKNOWN_CONTROLLER_ID"):
    """There is no controller of this id."""


class UnknownSubscriptionIdError(KraftpyError, name="UNKNOWN_SUBSCRIPTION_ID"):
    """The client's telemetry subscription is not known."""


class TelemetryTooLargeError(KraftpyError, name="TELEMETRY_TOO_LARGE"):
    """The client sent more telemetry than the broker accepts."""


class InvalidRegistrationError(KraftpyError, name="INVALID_REGISTRATION"):
    """The controller refuses the broker's registration."""


class TransactionAbortableError(KraftpyError, name="TRANSACTION_ABORTABLE"):
    """The transaction failed and has to be aborted; the producer can go on after that."""


class InvalidRecordStateError(KraftpyError, name="INVALID_RECORD_STATE"):
    """The record is not in a state that allows this acknowledgement."""


class ShareSessionNotFoundError(RetriableError, name="SHARE_SESSION_NOT_FOUND"):
    """There is no such share session."""


class InvalidShareSessionEpochError(RetriableError, name="INVALID_SHARE_SESSION_EPOCH"):
    """The share session's epoch is not the expected one."""


class FencedStateEpochError(KraftpyError, name="FENCED_STATE_EPOCH"):
    """The share coordinator holds a newer epoch of this state."""


class InvalidVoterKeyError(KraftpyError, name="INVALID_VOTER_KEY"):
    """The voter's id and directory id do not fit the receiving node."""


class DuplicateVoterError(KraftpyError, name="DUPLICATE_VOTER"):
    """The voter is in the voter set already."""


class VoterNotFoundError(KraftpyError, name="VOTER_NOT_FOUND"):
    """The voter is not in the voter set."""


class InvalidRegularExpressionError(KraftpyError, name="INVALID_REGULAR_EXPRESSION"):
    """The regular expression is not valid."""


class RebootstrapRequiredError(KraftpyError, name="REBOOTSTRAP_REQUIRED"):
    """The client has to start again from its bootstrap addresses."""


class StreamsInvalidTopologyError(KraftpyError, name="STREAMS_INVALID_TOPOLOGY"):
    """The streams topology is not valid."""


class StreamsInvalidTopologyEpochError(KraftpyError, name="STREAMS_INVALID_TOPOLOGY_EPOCH"):
    """The epoch of the streams topology is not valid."""


class StreamsTopologyFencedError(KraftpyError, name="STREAMS_TOPOLOGY_FENCED"):
    """The epoch of the streams topology is older than the group's."""


class ShareSessionLimitReachedError(RetriableError, name="SHARE_SESSION_LIMIT_REACHED"):
    """The broker has as many share sessions as it allows."""
