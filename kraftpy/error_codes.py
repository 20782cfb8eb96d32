"""Kafka's numbers of errors, as they stand on the wire.

Only the doors (the Kafka listener, gRPC, the fetchers and the clients' connections) translate; everything between them
raises and catches the classes of `kraftpy.errors`.

Invariants: one number a class and one class a number; 0 is success and never an error.
"""

from kraftpy import errors
from kraftpy.errors import KraftpyError, UnknownServerError

NO_ERROR = 0

BY_CODE: dict[int, type[KraftpyError]] = {
    -1: errors.UnknownServerError,
    1: errors.OffsetOutOfRangeError,
    2: errors.CorruptRecordError,
    3: errors.UnknownTopicOrPartitionError,
    4: errors.InvalidFetchSizeError,
    5: errors.LeaderNotAvailableError,
    6: errors.NotLeaderOrFollowerError,
    7: errors.RequestTimedOutError,
    8: errors.BrokerNotAvailableError,
    9: errors.ReplicaNotAvailableError,
    10: errors.RecordTooLargeError,
    11: errors.StaleControllerEpochError,
    12: errors.OffsetMetadataTooLargeError,
    13: errors.NetworkError,
    14: errors.CoordinatorLoadInProgressError,
    15: errors.CoordinatorNotAvailableError,
    16: errors.NotCoordinatorError,
    17: errors.InvalidTopicError,
    18: errors.RecordListTooLargeError,
    19: errors.NotEnoughReplicasError,
    20: errors.NotEnoughReplicasAfterAppendError,
    21: errors.InvalidRequiredAcksError,
    22: errors.IllegalGenerationError,
    23: errors.InconsistentGroupProtocolError,
    24: errors.InvalidGroupIdError,
    25: errors.UnknownMemberIdError,
    26: errors.InvalidSessionTimeoutError,
    27: errors.RebalanceInProgressError,
    28: errors.InvalidCommitOffsetSizeError,
    29: errors.TopicAuthorizationFailedError,
    30: errors.GroupAuthorizationFailedError,
    31: errors.ClusterAuthorizationFailedError,
    32: errors.InvalidTimestampError,
    33: errors.UnsupportedSaslMechanismError,
    34: errors.IllegalSaslStateError,
    35: errors.UnsupportedVersionError,
    36: errors.TopicAlreadyExistsError,
    37: errors.InvalidPartitionsError,
    38: errors.InvalidReplicationFactorError,
    39: errors.InvalidReplicaAssignmentError,
    40: errors.InvalidConfigError,
    41: errors.NotControllerError,
    42: errors.InvalidRequestError,
    43: errors.UnsupportedForMessageFormatError,
    44: errors.PolicyViolationError,
    45: errors.OutOfOrderSequenceError,
    46: errors.DuplicateSequenceError,
    47: errors.InvalidProducerEpochError,
    48: errors.InvalidTxnStateError,
    49: errors.InvalidProducerIdMappingError,
    50: errors.InvalidTransactionTimeoutError,
    51: errors.ConcurrentTransactionsError,
    52: errors.TransactionCoordinatorFencedError,
    53: errors.TransactionalIdAuthorizationFailedError,
    54: errors.SecurityDisabledError,
    55: errors.OperationNotAttemptedError,
    56: errors.KafkaStorageError,
    57: errors.LogDirNotFoundError,
    58: errors.SaslAuthenticationFailedError,
    59: errors.UnknownProducerIdError,
    60: errors.ReassignmentInProgressError,
    61: errors.DelegationTokenAuthDisabledError,
    62: errors.DelegationTokenNotFoundError,
    63: errors.DelegationTokenOwnerMismatchError,
    64: errors.DelegationTokenRequestNotAllowedError,
    65: errors.DelegationTokenAuthorizationFailedError,
    66: errors.DelegationTokenExpiredError,
    67: errors.InvalidPrincipalTypeError,
    68: errors.NonEmptyGroupError,
    69: errors.GroupIdNotFoundError,
    70: errors.FetchSessionIdNotFoundError,
    71: errors.InvalidFetchSessionEpochError,
    72: errors.ListenerNotFoundError,
    73: errors.TopicDeletionDisabledError,
    74: errors.FencedLeaderEpochError,
    75: errors.UnknownLeaderEpochError,
    76: errors.UnsupportedCompressionTypeError,
    77: errors.StaleBrokerEpochError,
    78: errors.OffsetNotAvailableError,
    79: errors.MemberIdRequiredError,
    80: errors.PreferredLeaderNotAvailableError,
    81: errors.GroupMaxSizeReachedError,
    82: errors.FencedInstanceIdError,
    83: errors.EligibleLeadersNotAvailableError,
    84: errors.ElectionNotNeededError,
    85: errors.NoReassignmentInProgressError,
    86: errors.GroupSubscribedToTopicError,
    87: errors.InvalidRecordError,
    88: errors.UnstableOffsetCommitError,
    89: errors.ThrottlingQuotaExceededError,
    90: errors.ProducerFencedError,
    91: errors.ResourceNotFoundError,
    92: errors.DuplicateResourceError,
    93: errors.UnacceptableCredentialError,
    94: errors.InconsistentVoterSetError,
    95: errors.InvalidUpdateVersionError,
    96: errors.FeatureUpdateFailedError,
    97: errors.PrincipalDeserializationFailureError,
    98: errors.SnapshotNotFoundError,
    99: errors.PositionOutOfRangeError,
    100: errors.UnknownTopicIdError,
    101: errors.DuplicateBrokerRegistrationError,
    102: errors.BrokerIdNotRegisteredError,
    103: errors.InconsistentTopicIdError,
    104: errors.InconsistentClusterIdError,
    105: errors.TransactionalIdNotFoundError,
    106: errors.FetchSessionTopicIdError,
    107: errors.IneligibleReplicaError,
    108: errors.NewLeaderElectedError,
    109: errors.OffsetMovedToTieredStorageError,
    110: errors.FencedMemberEpochError,
    111: errors.UnreleasedInstanceIdError,
    112: errors.UnsupportedAssignorError,
    113: errors.StaleMemberEpochError,
    114: errors.MismatchedEndpointTypeError,
    115: errors.UnsupportedEndpointTypeError,
    116: errors.UnknownControllerIdError,
    117: errors.UnknownSubscriptionIdError,
    118: errors.TelemetryTooLargeError,
    119: errors.InvalidRegistrationError,
    120: errors.TransactionAbortableError,
    121: errors.InvalidRecordStateError,
    122: errors.ShareSessionNotFoundError,
    123: errors.InvalidShareSessionEpochError,
    124: errors.FencedStateEpochError,
    125: errors.InvalidVoterKeyError,
    126: errors.DuplicateVoterError,
    127: errors.VoterNotFoundError,
    128: errors.InvalidRegularExpressionError,
    129: errors.RebootstrapRequiredError,
    130: errors.StreamsInvalidTopologyError,
    131: errors.StreamsInvalidTopologyEpochError,
    132: errors.StreamsTopologyFencedError,
    133: errors.ShareSessionLimitReachedError,
}
"""Every code of Kafka 4.3 but 0."""

_BY_CLASS = {error: code for code, error in BY_CODE.items()}
_BY_NAME = {error.name: error for error in BY_CODE.values()}


def code_of(error: KraftpyError | type[KraftpyError]) -> int:
    """The number of `error`, or of the nearest base class that has one; -1 (UNKNOWN_SERVER_ERROR) where none has."""
    error_class = error if isinstance(error, type) else type(error)
    for base in error_class.__mro__:
        code = _BY_CLASS.get(base)
        if code is not None:
            return code
    return -1


def class_for(code: int) -> type[KraftpyError]:
    """The class of `code`; `UnknownServerError` for one that a newer peer has invented. `code` 0 is a bug."""
    assert code != NO_ERROR, "0 is not an error"
    return BY_CODE.get(code, UnknownServerError)


def error_for(code: int, message: str = "") -> KraftpyError:
    """An error to raise for `code`, with the peer's `message` if it sent one. `code` 0 is a bug."""
    error_class = class_for(code)
    if code not in BY_CODE:
        message = f"unknown error code {code}" + (f": {message}" if message else "")
    return error_class(message)


def error_named(name: str, message: str = "") -> KraftpyError:
    """An error to raise for one that an answer names; `UnknownServerError` for a name that only newer peers know."""
    return _BY_NAME.get(name, UnknownServerError)(message)
