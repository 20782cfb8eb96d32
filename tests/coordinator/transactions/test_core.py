"""The stories of transactional ids, told to a core."""

import pytest

from broker.coordinator.transactions.commands import (
    AddPartitions,
    DescribeTransaction,
    EndTransaction,
    InitProducerId,
    ListTransactions,
    Marker,
    MarkersWritten,
    ProducerIdentity,
    ProtocolVersion,
    TopicPartition,
    TransactionalProducer,
    TransactionDescription,
    TransactionListing,
    VerifyPartitions,
)
from broker.coordinator.transactions.config import TransactionConfig
from broker.coordinator.transactions.core import BATCH_RECORDS, RETRY_PAUSE_MS
from broker.coordinator.transactions.epochs import EPOCH_MAX, LAST_GIVEN_EPOCH
from broker.coordinator.transactions.states import TransactionState
from kraftpy.errors import (
    ConcurrentTransactionsError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidProducerIdMappingError,
    InvalidRequestError,
    InvalidTransactionTimeoutError,
    InvalidTxnStateError,
    KraftpyError,
    ProducerFencedError,
    TransactionAbortableError,
    TransactionalIdNotFoundError,
)
from tests.coordinator.transactions.stage import FIRST, HOUR_MS, MINUTE_MS, SECOND, A, B, C, Stage

EMPTY, ONGOING = TransactionState.EMPTY, TransactionState.ONGOING
PREPARE_COMMIT, PREPARE_ABORT = TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT
COMPLETE_COMMIT, COMPLETE_ABORT = TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT
DAY_MS = 24 * HOUR_MS


# --- one transaction after the other ---------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [True, False])
def test_a_transaction_of_the_second_version(commit: bool) -> None:
    stage = Stage()
    producer = stage.init()
    assert producer == TransactionalProducer("t", 100, 0)
    stage.add(producer, B)
    stage.add(producer, A, B)
    assert stage.metadata().partitions == (A, B)
    after = stage.end(producer, commit=commit)
    assert after == TransactionalProducer("t", 100, 1), "each transaction has an epoch of its own"
    (sent,) = stage.write_markers()
    assert sent.partitions == (A, B)
    assert sent.marker == Marker(ProducerIdentity(100, 1), stage.leader_epoch, commit, bumps_epoch=True)
    assert stage.state() is (COMPLETE_COMMIT if commit else COMPLETE_ABORT)
    stage.add(after, C)
    assert stage.state() is ONGOING and stage.metadata().partitions == (C,)


@pytest.mark.parametrize("commit", [True, False])
def test_a_transaction_of_the_first_version(commit: bool) -> None:
    stage = Stage()
    producer = stage.init()
    for _ in range(2):
        stage.add(producer, A, version=FIRST)
        assert stage.end(producer, commit=commit, version=FIRST) == producer
        (sent,) = stage.write_markers()
        assert sent.marker == Marker(producer.identity, stage.leader_epoch, commit, bumps_epoch=False)


def test_the_next_begins_when_all_markers_are_written() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A)
    after = stage.end(producer)
    for command in (
        AddPartitions(after, (A,)),
        VerifyPartitions(after, (A,)),
        EndTransaction(producer, True),
        InitProducerId(TransactionalProducer("t"), MINUTE_MS),
    ):
        with pytest.raises((ConcurrentTransactionsError, InvalidTxnStateError)):
            stage.ask(command)
    assert stage.state() is PREPARE_COMMIT
    stage.write_markers()
    stage.add(after, A)


@pytest.mark.parametrize("version", [FIRST, SECOND])
def test_markers_written_late_complete_nothing_else(version: ProtocolVersion) -> None:
    """What was not committed in time is told again; by the first version the next transaction has the same epoch."""
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A, version=version)
    after = stage.end(producer, version=version)
    (sent,) = stage.write_markers()
    stage.add(after, A, version=version)
    stage.end(after, version=version)
    stage.ask(MarkersWritten("t", sent.decision))
    assert stage.state() is PREPARE_COMMIT
    stage.ask(MarkersWritten("forgotten", sent.decision))
    stage.write_markers()
    assert stage.state() is COMPLETE_COMMIT


def test_nothing_begun_can_be_aborted_in_the_second_version_only() -> None:
    stage = Stage()
    producer = stage.init()
    with pytest.raises(InvalidTxnStateError):
        stage.end(producer, commit=False, version=FIRST)
    with pytest.raises(InvalidTxnStateError):
        stage.end(producer, commit=True)
    after = stage.end(producer, commit=False)
    assert after.producer_epoch == 1 and stage.state() is COMPLETE_ABORT and not stage.markers
    assert stage.end(producer, commit=False) == after, "asked again"
    assert stage.end(after, commit=False).producer_epoch == 2


# --- asked again -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [FIRST, SECOND])
@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("failing_over", [True, False])
def test_an_end_that_is_asked_for_again(version: ProtocolVersion, commit: bool, failing_over: bool) -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A, version=version)
    after = stage.end(producer, commit=commit, version=version)
    if failing_over:
        stage.fail_over()
    with pytest.raises(ConcurrentTransactionsError):
        stage.end(producer, commit=commit, version=version)
    with pytest.raises(InvalidTxnStateError):
        stage.end(producer, commit=not commit, version=version)
    stage.write_markers()
    if failing_over:
        stage.fail_over()
    assert stage.end(producer, commit=commit, version=version) == after
    with pytest.raises(InvalidTxnStateError):
        stage.end(producer, commit=not commit, version=version)


def test_kafka_17754_a_late_end_never_decides_a_later_transaction() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A)
    after = stage.end(producer, commit=True)
    stage.write_markers()
    stage.add(after, A, B)
    for commit in (True, False):
        with pytest.raises(ProducerFencedError):
            stage.end(producer, commit=commit)
    assert stage.state() is ONGOING
    stage.end(after, commit=False)
    stage.write_markers()
    for commit in (True, False):
        with pytest.raises(ProducerFencedError):
            stage.end(producer, commit=commit)


@pytest.mark.parametrize("epoch", [0, LAST_GIVEN_EPOCH])
def test_kafka_18464_who_ends_the_next_transaction_while_this_is_being_completed_comes_again(epoch: int) -> None:
    stage = Stage()
    producer = at_epoch(stage, epoch)
    stage.add(producer, A)
    after = stage.end(producer)
    for commit in (True, False):
        with pytest.raises(ConcurrentTransactionsError):
            stage.end(after, commit=commit)
    stage.write_markers()
    assert stage.end(after, commit=False) == TransactionalProducer("t", after.producer_id, after.producer_epoch + 1)


def test_kip_890_late_partitions_join_no_later_transaction() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A)
    stage.end(producer)
    stage.write_markers()
    with pytest.raises(ProducerFencedError):
        stage.add(producer, B)
    with pytest.raises(ProducerFencedError):
        stage.ask(VerifyPartitions(producer, (A,)))
    assert stage.state() is COMPLETE_COMMIT


def test_kafka_14034_what_is_unclear_is_answered_by_something_to_try_again() -> None:
    """A log that does not take it now, an id that cannot be had now: nothing that a producer must give up for."""
    stage = Stage()
    stage.next_id = CoordinatorLoadInProgressError("no ids now")
    with pytest.raises(CoordinatorLoadInProgressError):
        stage.init()
    stage.next_id = 100
    producer = stage.init()
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    for command in (
        AddPartitions(producer, (A,)),
        EndTransaction(producer, False),
        InitProducerId(TransactionalProducer("t"), MINUTE_MS),
    ):
        with pytest.raises(CoordinatorNotAvailableError):
            stage.ask(command)
        assert stage.state() is EMPTY and not stage.markers
    stage.refusal = None
    stage.add(producer, A)
    assert stage.end(producer).producer_epoch == 1


# --- who has the id --------------------------------------------------------------------------------------------------


def test_whoever_takes_the_id_over_fences_the_one_before() -> None:
    stage = Stage()
    old = stage.init()
    new = stage.init()
    assert new == TransactionalProducer("t", 100, 1)
    for attempt in (AddPartitions(old, (A,)), VerifyPartitions(old, (A,)), EndTransaction(old, True)):
        with pytest.raises(ProducerFencedError):
            stage.ask(attempt)
    stage.add(new, A)


@pytest.mark.parametrize("version", [FIRST, SECOND])
def test_what_is_open_is_aborted_for_the_next_and_its_producer_fenced(version: ProtocolVersion) -> None:
    stage = Stage()
    old = stage.init()
    stage.add(old, A, version=version)
    with pytest.raises(ConcurrentTransactionsError):
        stage.init()
    with pytest.raises(ConcurrentTransactionsError):
        stage.init()
    assert stage.state() is PREPARE_ABORT
    for attempt in (AddPartitions(old, (A,), version), VerifyPartitions(old, (A,))):
        with pytest.raises(ProducerFencedError, match="taken over"):  # it need not come again for that
            stage.ask(attempt)
    with pytest.raises(InvalidProducerIdMappingError):
        stage.add(TransactionalProducer("t", 99, 0), A, version=version)
    with pytest.raises((ProducerFencedError, InvalidTxnStateError)):
        stage.end(old, version=version)
    (sent,) = stage.write_markers()
    assert not sent.marker.commit and sent.marker.producer.producer_epoch > old.producer_epoch
    for commit in (True, False):
        with pytest.raises(ProducerFencedError):
            stage.end(old, commit=commit, version=version)
    new = stage.init()
    assert new.producer_epoch > sent.marker.producer.producer_epoch
    with pytest.raises(ProducerFencedError):
        stage.end(old, commit=False, version=version)


def test_strangers_are_told_so() -> None:
    stage = Stage()
    producer = stage.init()
    for other in (TransactionalProducer("t", 99, 0), TransactionalProducer("u", 100, 0)):
        for attempt in (AddPartitions(other, (A,)), VerifyPartitions(other, (A,)), EndTransaction(other, True)):
            with pytest.raises(InvalidProducerIdMappingError):
                stage.ask(attempt)
    with pytest.raises(InvalidRequestError):
        stage.init("")
    with pytest.raises(InvalidRequestError):
        stage.ask(EndTransaction(TransactionalProducer("", 1, 1), True))
    stage.add(producer, A)


@pytest.mark.parametrize("timeout_ms", [0, -1, 15 * MINUTE_MS + 1])
def test_a_time_that_is_not_given(timeout_ms: int) -> None:
    with pytest.raises(InvalidTransactionTimeoutError, match=r"transaction\.max\.timeout\.ms"):
        Stage().init(timeout_ms=timeout_ms)


def test_kip_360_a_producer_bumps_its_own_epoch() -> None:
    stage = Stage()
    producer = stage.init()
    bumped = stage.init(expected=producer.identity)
    assert bumped.producer_epoch == 1
    assert stage.init(expected=producer.identity) == bumped, "the answer was lost"
    other = stage.init()
    assert other.producer_epoch == 2
    for old in (producer, bumped):
        with pytest.raises(ProducerFencedError):
            stage.init(expected=old.identity)
    with pytest.raises(ProducerFencedError):
        stage.init(expected=ProducerIdentity(99, 2))
    assert stage.init(expected=other.identity).producer_epoch == 3


@pytest.mark.parametrize("version", [FIRST, SECOND])
def test_kip_360_while_a_transaction_is_open(version: ProtocolVersion) -> None:
    stage = Stage()
    old = stage.init()
    producer = stage.init(expected=old.identity)
    stage.add(producer, A, version=version)
    with pytest.raises(ProducerFencedError):
        stage.init(expected=old.identity)
    assert stage.state() is ONGOING, "an old self aborts nothing"
    with pytest.raises(ConcurrentTransactionsError):
        stage.init(expected=producer.identity)
    (sent,) = stage.write_markers()
    after = stage.init(expected=producer.identity)
    assert not sent.marker.commit and after.identity == sent.marker.producer
    stage.add(after, A, version=version)


def test_a_producer_that_was_forgotten_begins_anew() -> None:
    stage = Stage()
    assert stage.init(expected=ProducerIdentity(7, 3)) == TransactionalProducer("t", 100, 0)


# --- the end of the epochs -------------------------------------------------------------------------------------------


def at_epoch(stage: Stage, epoch: int) -> TransactionalProducer:
    producer = stage.init()
    while producer.producer_epoch < epoch:
        producer = stage.init()
    return producer


def test_after_the_last_epoch_comes_another_id() -> None:
    stage = Stage()
    last = at_epoch(stage, LAST_GIVEN_EPOCH)
    assert stage.init() == TransactionalProducer("t", 101, 0)
    with pytest.raises(InvalidProducerIdMappingError):
        stage.add(last, A)
    with pytest.raises(ProducerFencedError):
        stage.init(expected=last.identity)


def test_kip_360_across_the_change_of_ids() -> None:
    stage = Stage()
    last = at_epoch(stage, LAST_GIVEN_EPOCH)
    after = stage.init(expected=last.identity)
    assert after == TransactionalProducer("t", 101, 0)
    assert stage.init(expected=last.identity) == after, "the answer was lost"
    stage.init()
    with pytest.raises(ProducerFencedError):
        stage.init(expected=last.identity)


@pytest.mark.parametrize("failing_over", [True, False])
def test_kip_890_a_transaction_with_the_last_epoch(failing_over: bool) -> None:
    stage = Stage()
    last = at_epoch(stage, LAST_GIVEN_EPOCH)
    stage.add(last, A)
    after = stage.end(last)
    assert after == TransactionalProducer("t", 101, 0)
    if failing_over:
        stage.fail_over()
    with pytest.raises(ConcurrentTransactionsError):
        stage.end(last)
    for attempt in (
        AddPartitions(after, (A,)),
        VerifyPartitions(after, (A,)),
        InitProducerId(after, MINUTE_MS),
    ):
        with pytest.raises(ConcurrentTransactionsError):
            stage.ask(attempt)
    (sent,) = stage.write_markers()
    assert sent.marker.producer == ProducerIdentity(100, EPOCH_MAX)
    if failing_over:
        stage.fail_over()
    assert stage.end(last) == after
    stage.add(after, A)
    with pytest.raises(InvalidProducerIdMappingError):
        stage.end(last)
    assert stage.state() is ONGOING


@pytest.mark.parametrize("version", [FIRST, SECOND])
@pytest.mark.parametrize("back", [0, 1])
def test_fencing_at_the_end_of_the_epochs(version: ProtocolVersion, back: int) -> None:
    stage = Stage()
    last = at_epoch(stage, LAST_GIVEN_EPOCH - back)
    stage.add(last, A, version=version)
    new = stage.take_over()
    assert new.producer_id == 101 or new.producer_epoch > last.producer_epoch + 1
    for commit in (True, False):
        with pytest.raises((ProducerFencedError, InvalidProducerIdMappingError)):
            stage.end(last, commit=commit, version=version)
    stage.add(new, A)


def test_the_last_epoch_of_all_is_nobodys() -> None:
    stage = Stage()
    last = at_epoch(stage, LAST_GIVEN_EPOCH)
    stage.add(last, A)
    stage.pass_ms(MINUTE_MS)
    stage.write_markers()
    impostor = TransactionalProducer("t", 100, EPOCH_MAX)
    assert stage.metadata().identity == impostor.identity
    for attempt in (AddPartitions(impostor, (A,)), EndTransaction(impostor, False)):
        with pytest.raises(ProducerFencedError):
            stage.ask(attempt)
    with pytest.raises(ProducerFencedError):
        stage.init(expected=impostor.identity)
    assert stage.init() == TransactionalProducer("t", 101, 0)


def test_who_waits_for_an_id_is_told_when_none_can_be_had() -> None:
    stage = Stage()
    last = at_epoch(stage, LAST_GIVEN_EPOCH)
    stage.add(last, A)
    stage.next_id = CoordinatorLoadInProgressError("no ids now")
    with pytest.raises(CoordinatorLoadInProgressError):
        stage.end(last)
    assert stage.state() is ONGOING
    stage.next_id = 200
    assert stage.end(last).producer_id == 200


# --- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [FIRST, SECOND])
def test_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced(version: ProtocolVersion) -> None:
    stage = Stage()
    producer = stage.init(timeout_ms=10_000)
    stage.add(producer, A, version=version)
    stage.pass_ms(9_000)
    stage.add(producer, B, version=version)
    assert stage.state() is ONGOING
    stage.pass_ms(1_000)
    assert stage.state() is PREPARE_ABORT
    (sent,) = stage.write_markers()
    assert sent.partitions == (A, B) and sent.marker.producer.producer_epoch > producer.producer_epoch
    for commit in (True, False):
        with pytest.raises(ProducerFencedError):
            stage.end(producer, commit=commit, version=version)
    with pytest.raises(ProducerFencedError):
        stage.add(producer, A, version=version)
    assert stage.init().producer_epoch > sent.marker.producer.producer_epoch


def test_a_log_that_takes_nothing_delays_the_abort_and_no_more() -> None:
    stage = Stage()
    stage.add(stage.init(timeout_ms=10_000), A)
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    stage.pass_ms(25_000)
    assert stage.state() is ONGOING
    stage.refusal = None
    stage.pass_ms(RETRY_PAUSE_MS)
    assert stage.state() is PREPARE_ABORT and len(stage.markers) == 1


def test_many_at_once_are_aborted_in_batches() -> None:
    stage = Stage()
    names = [f"t{number}" for number in range(BATCH_RECORDS + 10)]
    for name in names:
        stage.add(stage.init(name, timeout_ms=10_000), A)
    before = len(stage.log)
    stage.pass_ms(10_000)
    assert len(stage.log) == before + len(names) == before + len(stage.markers)


def long_names(count: int) -> list[str]:
    """As long as their field in a record lets them be, nearly."""
    return [f"t{number}-".ljust(30_000, "x") for number in range(count)]


def test_ids_of_any_length_are_aborted_in_time() -> None:
    """Refused together, they would have kept each other open for ever, and shorter ones as well."""
    stage = Stage()
    for name in [*long_names(50), "t"]:
        stage.add(stage.init(name, timeout_ms=10_000), A)
    stage.pass_ms(10_000)
    assert len(stage.markers) == 51


def test_a_transaction_of_many_partitions_is_aborted_with_others() -> None:
    stage = Stage()
    places = [TopicPartition(f"{number}-".ljust(249, "x"), 0) for number in range(2_000)]
    for name in ("t", "u", "v"):
        stage.add(stage.init(name, timeout_ms=10_000), *places)
    stage.pass_ms(10_000)
    assert len(stage.markers) == 3


def test_ids_of_any_length_are_forgotten() -> None:
    stage = Stage()
    for name in long_names(50):
        stage.init(name)
    stage.pass_ms(stage.config.id_expiration_ms + stage.config.id_expiration_check_interval_ms + MINUTE_MS)
    assert not stage.core.transactions


def test_a_log_that_takes_nothing_is_not_asked_without_a_pause() -> None:
    stage = Stage()
    for number in range(BATCH_RECORDS + 10):
        stage.init(f"t{number}")
    stage.pass_ms(stage.config.id_expiration_ms - 1)
    stage.refusal = CoordinatorNotAvailableError("too few replicas")
    before = stage.batches
    interval_ms = stage.config.id_expiration_check_interval_ms
    stage.pass_ms(2 * interval_ms)
    assert 1 <= stage.batches - before <= 2
    stage.refusal = None
    stage.pass_ms(interval_ms + MINUTE_MS)
    assert not stage.core.transactions


def test_the_next_leader_gives_what_is_open_the_rest_of_its_time() -> None:
    stage = Stage()
    stage.add(stage.init(timeout_ms=10_000), A)
    stage.pass_ms(6_000)
    stage.fail_over()
    stage.pass_ms(3_999)
    assert stage.state() is ONGOING
    stage.pass_ms(1)
    assert stage.state() is PREPARE_ABORT


@pytest.mark.parametrize("leap_ms", [-DAY_MS, DAY_MS])
def test_a_leap_of_the_wall_clock_costs_no_more_than_the_time_given(leap_ms: int) -> None:
    stage = Stage()
    stage.add(stage.init(timeout_ms=10_000), A)
    stage.now = stage.now._replace(wall_ms=stage.now.wall_ms + leap_ms)
    stage.pass_ms(9_999)
    assert stage.state() is ONGOING, "the clock that counts is the other"
    stage.fail_over()
    stage.pass_ms(10_000)
    assert stage.state() is PREPARE_ABORT


def test_ids_that_nobody_uses_are_forgotten() -> None:
    stage = Stage(TransactionConfig(id_expiration_ms=DAY_MS))
    stage.init("idle")
    stage.add(stage.init("done"), A)
    stage.end(TransactionalProducer("done", 101, 0))
    stage.write_markers()
    stage.pass_ms(DAY_MS - HOUR_MS)
    stage.init("fresh")
    stage.add(stage.init("decided"), A)
    stage.end(TransactionalProducer("decided", 103, 0))
    stage.pass_ms(2 * HOUR_MS)
    assert sorted(stage.core.transactions) == ["decided", "fresh"]
    stage.fail_over()
    assert sorted(stage.core.transactions) == ["decided", "fresh"]
    stage.pass_ms(30 * DAY_MS)
    assert sorted(stage.core.transactions) == ["decided"], "what is decided stays until its markers are written"
    assert stage.init("idle").producer_id > 103


# --- another leader --------------------------------------------------------------------------------------------------


def test_redpanda_6018_what_was_begun_is_known_to_the_next_leader() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A, B)
    stage.fail_over()
    assert stage.ask(VerifyPartitions(producer, (A, B, C)))[:2] == (None, None)  # type: ignore[index]
    stage.end(producer)
    assert stage.write_markers()[0].partitions == (A, B)


def test_what_was_decided_is_brought_to_its_end_by_the_next_leader() -> None:
    stage = Stage()
    for name, commit in (("c", True), ("a", False)):
        producer = stage.init(name)
        stage.add(producer, A, B)
        stage.end(producer, commit=commit)
    stage.fail_over()
    sent = stage.write_markers()
    assert [(each.transactional_id, each.marker.commit, each.partitions) for each in sent] == [
        ("c", True, (A, B)),
        ("a", False, (A, B)),
    ]
    assert all(each.marker.coordinator_epoch == stage.leader_epoch for each in sent)
    assert (stage.state("c"), stage.state("a")) == (COMPLETE_COMMIT, COMPLETE_ABORT)


# --- looking ---------------------------------------------------------------------------------------------------------


def test_looking_at_transactions() -> None:
    stage = Stage()
    producer = stage.init("long")
    stage.add(producer, A, B)
    began_ms = stage.now.wall_ms
    stage.pass_ms(5_000)
    stage.add(stage.init("short"), A)
    stage.init("none")
    described = stage.ask(DescribeTransaction("long"))
    assert described == TransactionDescription("long", ONGOING, producer.identity, MINUTE_MS, began_ms, (A, B))
    with pytest.raises(TransactionalIdNotFoundError):
        stage.ask(DescribeTransaction("unknown"))

    def listed(command: ListTransactions) -> list[str]:
        found = stage.ask(command)
        assert isinstance(found, tuple)
        assert all(isinstance(each, TransactionListing) for each in found)
        return [each.transactional_id for each in found]

    assert listed(ListTransactions()) == ["long", "short", "none"]
    assert listed(ListTransactions(states=[EMPTY])) == ["none"]
    assert listed(ListTransactions(producer_ids=[100, 102])) == ["long", "none"]
    assert listed(ListTransactions(running_ms_min=4_000)) == ["long"]
    assert listed(ListTransactions(states=[ONGOING], running_ms_min=0)) == ["long"]


def test_a_producer_that_ends_by_the_first_version_keeps_its_epoch_whoever_added_its_partitions() -> None:
    """It cannot hear of another one: EndTxn tells it from version 5 on (found by @platformatic/kafka)."""
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A, version=SECOND)
    stage.end(producer, version=FIRST)
    (sent,) = stage.write_markers()
    assert sent.marker.producer.producer_epoch == producer.producer_epoch and not sent.marker.bumps_epoch
    stage.add(producer, A, version=SECOND)


def test_verification_names_what_takes_no_part() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A)
    refusals = stage.ask(VerifyPartitions(producer, (A, B)))
    assert isinstance(refusals, tuple)
    assert refusals[0] is None and isinstance(refusals[1], TransactionAbortableError)


def test_a_refusal_changes_nothing() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, A)
    before = stage.metadata()
    for command in (
        AddPartitions(TransactionalProducer("t", 100, 5), (B,)),
        EndTransaction(TransactionalProducer("t", 100, 5), True),
        InitProducerId(TransactionalProducer("t", 100, 5), MINUTE_MS),
        InitProducerId(TransactionalProducer("t"), 0),
    ):
        with pytest.raises(KraftpyError):
            stage.ask(command)
    assert stage.metadata() == before
