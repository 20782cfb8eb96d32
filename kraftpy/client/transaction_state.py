"""Where a transactional producer stands. Pure.

    UNKNOWN ──init──► READY ──begin──► OPEN ──commit──► DELIVERING ──delivered──► COMMITTING ──answer──► READY
                        ▲                │ delivery failed │
                        │                ▼                 │
                        └─ABORTING ◄── FAILED ◄────────────┘            any ──fenced──► FATAL

Nothing more is sent from the moment when somebody commits: it might miss the end. A transaction that FAILED can only be
aborted; a producer that is FATAL can only be closed. An end whose answer was lost may be asked for again, the same end
only: closing does so, and the next begin for an abort. A transaction that a cancelled `with` block left before anybody
was asked to commit is aborted likewise.
"""

from enum import Enum, auto

from kraftpy.errors import (
    AuthorizationError,
    InvalidProducerEpochError,
    InvalidProducerIdMappingError,
    InvalidTransactionTimeoutError,
    InvalidTxnStateError,
    KraftpyError,
    ProducerFencedError,
    TransactionAbortableError,
    UnsupportedVersionError,
)


class Stage(Enum):
    UNKNOWN = auto()
    READY = auto()
    OPEN = auto()
    DELIVERING = auto()
    FAILED = auto()
    COMMITTING = auto()
    ABORTING = auto()
    FATAL = auto()


_FATAL = (
    ProducerFencedError,
    InvalidProducerIdMappingError,
    InvalidTransactionTimeoutError,
    InvalidTxnStateError,
    UnsupportedVersionError,
    AuthorizationError,
)


class TransactionState:
    """Invariant: `error` is set exactly in FAILED and FATAL."""

    def __init__(self, transactional_id: str) -> None:
        self.stage = Stage.UNKNOWN
        self.error: KraftpyError | None = None
        self._transactional_id = transactional_id

    @property
    def is_open(self) -> bool:
        """Whether there is a transaction to end."""
        return self.stage not in (Stage.UNKNOWN, Stage.READY, Stage.FATAL)

    def check_send(self) -> None:
        """Raises unless a record may be sent, or offsets, now."""
        if self.stage is Stage.OPEN:
            return
        self._check_alive()
        if self.stage is Stage.FAILED:
            raise TransactionAbortableError(f"the transaction has failed and must be aborted: {self.error}")
        if self.stage is Stage.DELIVERING:
            raise InvalidTxnStateError(
                f"the transaction of {self._transactional_id} is being committed: send before that"
            )
        raise InvalidTxnStateError(
            f"producer {self._transactional_id} is transactional, and no transaction is open: send inside of "
            "`with producer.transaction():`"
        )

    def begin(self) -> None:
        """Raises `InvalidTxnStateError` where one is open already."""
        self._check_alive()
        if self.stage is Stage.COMMITTING:
            raise InvalidTxnStateError(
                f"nobody has answered whether the last transaction of {self._transactional_id} is committed: call "
                "commit_transaction() again"
            )
        if self.stage is not Stage.READY:
            raise InvalidTxnStateError(f"a transaction of {self._transactional_id} has not ended yet")
        self.stage = Stage.OPEN

    def ready(self) -> None:
        """The coordinator has given an identity, or ended the transaction."""
        self.stage = Stage.READY
        self.error = None

    def delivering(self) -> None:
        """Somebody commits, and what was sent is waited for; may be repeated."""
        assert self.stage in (Stage.OPEN, Stage.DELIVERING)
        self.stage = Stage.DELIVERING

    def end(self, commit: bool) -> None:
        """Raises where the transaction cannot end so."""
        self._check_alive()
        if commit:
            if self.stage is Stage.FAILED:
                raise TransactionAbortableError(
                    f"the transaction cannot be committed and must be aborted: {self.error}"
                ) from self.error
            possible: tuple[Stage, ...] = (Stage.DELIVERING, Stage.COMMITTING)
        else:
            possible = (Stage.OPEN, Stage.DELIVERING, Stage.FAILED, Stage.ABORTING)
        if self.stage not in possible:
            verb = "commit" if commit else "abort"
            raise InvalidTxnStateError(f"there is no transaction of {self._transactional_id} to {verb}")
        self.error = None
        self.stage = Stage.COMMITTING if commit else Stage.ABORTING

    def abandoned(self) -> None:
        """Whoever was to end it was interrupted, and does not come back; the next begin aborts what is open."""
        if self.stage in (Stage.OPEN, Stage.DELIVERING, Stage.FAILED):
            self.stage, self.error = Stage.ABORTING, None

    def failed(self, error: KraftpyError) -> KraftpyError:
        """Something of the transaction failed for good; what to raise."""
        if isinstance(error, InvalidProducerEpochError | ProducerFencedError):
            error = ProducerFencedError(
                f"another producer has taken over {self._transactional_id}, or the transaction took longer than "
                "transaction_timeout_ms; this producer can only be closed"
            )
        if isinstance(error, _FATAL):
            self.stage, self.error = Stage.FATAL, error
        elif self.stage in (Stage.OPEN, Stage.DELIVERING, Stage.FAILED, Stage.COMMITTING):
            self.stage, self.error = Stage.FAILED, self.error or error
        return error

    def undelivered(self, error: KraftpyError) -> KraftpyError:
        """A batch was refused for good; what to raise. A partition that knows of no transaction says nothing of the
        producer: its coordinator goes on with it, as with Kafka's own."""
        if isinstance(error, InvalidTxnStateError):
            error = TransactionAbortableError(error.message)
        return self.failed(error)

    def _check_alive(self) -> None:
        if self.stage is Stage.FATAL:
            assert self.error is not None
            raise self.error.with_traceback(None)  # it would grow with each call
