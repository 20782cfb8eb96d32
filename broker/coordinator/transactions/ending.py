"""What becomes of a producer's wish to commit or abort, by the state of its transaction. Pure.

| state | first version (KIP-98) | second version (KIP-890) |
|---|---|---|
| Ongoing | decided | decided |
| Prepare… of the same outcome | CONCURRENT_TRANSACTIONS | so too, if it is this transaction's end |
| Complete… of the same outcome | done already | so too, if it is this transaction's end |
| Prepare…, of the next transaction | the same as of this one | CONCURRENT_TRANSACTIONS (KAFKA-18464) |
| Empty, Complete… at the producer's epoch | INVALID_TXN_STATE | an abort: decided, of nothing |
| anything else | INVALID_TXN_STATE | INVALID_TXN_STATE |

In the first version a transaction has no name: a wish that was on its way for long may meet the next one (KAFKA-17754).
In the second its epoch is its name, and such a wish is fenced.
"""

from typing import Final

from broker.coordinator.transactions.commands import ProducerIdentity, ProtocolVersion
from broker.coordinator.transactions.epochs import EPOCH_MAX, is_ended_already
from broker.coordinator.transactions.records import TransactionMetadata
from broker.coordinator.transactions.states import TransactionState
from kraftpy.errors import (
    ConcurrentTransactionsError,
    InvalidProducerIdMappingError,
    InvalidTxnStateError,
    ProducerFencedError,
)

_PREPARED: Final = {True: TransactionState.PREPARE_COMMIT, False: TransactionState.PREPARE_ABORT}
_COMPLETED: Final = {True: TransactionState.COMPLETE_COMMIT, False: TransactionState.COMPLETE_ABORT}


def check_identity(metadata: TransactionMetadata, producer: ProducerIdentity) -> None:
    """Raises `InvalidProducerIdMappingError` for another's id, `ProducerFencedError` for another epoch."""
    if producer.producer_id != metadata.producer_id:
        raise InvalidProducerIdMappingError(
            f"the transactional id belongs to producer {metadata.producer_id}, not {producer.producer_id}"
        )
    if producer.producer_epoch != metadata.producer_epoch or producer.producer_epoch >= EPOCH_MAX:
        raise ProducerFencedError(
            f"producer {producer.producer_id} is at epoch {metadata.producer_epoch}, and this was epoch "
            f"{producer.producer_epoch}: another has taken over the transactional id, or a transaction took too long"
        )


def check_may_begin(metadata: TransactionMetadata) -> None:
    """Raises `ConcurrentTransactionsError` while the transaction before is still being ended."""
    if metadata.state.is_decided:
        raise ConcurrentTransactionsError("the transaction before is still being completed")


def check_may_take_part(metadata: TransactionMetadata, producer: ProducerIdentity) -> None:
    """Raises as `check_identity`, and `ConcurrentTransactionsError` for who may come again once it has ended.

    A fenced producer hears so at once. So does Kafka 4 where a broker asks for it; whoever adds partitions itself hears
    CONCURRENT_TRANSACTIONS there first, because the id that the producer may go on with is not known (KAFKA-18660).
    """
    if producer == metadata.identity_after:
        check_may_begin(metadata)
    check_identity(metadata, producer)
    check_may_begin(metadata)


def decision(
    metadata: TransactionMetadata, producer: ProducerIdentity, commit: bool, version: ProtocolVersion
) -> TransactionState | None:
    """The state that follows; None: all of this was done before. Raises as `check_identity`, and
    `ConcurrentTransactionsError`, `InvalidTxnStateError`."""
    is_second = version is ProtocolVersion.SECOND
    may_repeat = metadata.state not in (TransactionState.EMPTY, TransactionState.ONGOING)
    is_again = is_second and may_repeat and is_ended_already(metadata, producer)
    if not is_again:
        if is_second and producer == metadata.identity_after:  # which nobody else was told
            check_may_begin(metadata)
        check_identity(metadata, producer)
    if metadata.state is TransactionState.ONGOING:
        return _PREPARED[commit]
    if is_second and not is_again:
        if commit:
            raise _invalid(metadata, commit)
        return TransactionState.PREPARE_ABORT
    if metadata.state is _COMPLETED[commit]:
        return None
    if metadata.state is _PREPARED[commit]:
        raise ConcurrentTransactionsError("the transaction is still being completed")
    raise _invalid(metadata, commit)


def _invalid(metadata: TransactionMetadata, commit: bool) -> InvalidTxnStateError:
    verb = "committed" if commit else "aborted"
    return InvalidTxnStateError(f"a transaction that is {metadata.state.label} cannot be {verb}")
