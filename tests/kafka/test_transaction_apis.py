"""The transaction APIs over the wire: bytes in, bytes out, in front of a core whose log is a list."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from broker.coordinator.groups.commands import CommitOffsetsInTransaction, OffsetResults
from broker.coordinator.transactions.commands import (
    AddPartitions,
    ProtocolVersion,
    TopicPartition,
    TransactionalProducer,
)
from broker.coordinator.transactions.marker_writer import MarkerRequest
from broker.kafka.add_offsets_to_txn import AddOffsetsToTxn
from broker.kafka.add_partitions_to_txn import AddPartitionsToTxn
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.describe_transactions import DescribeTransactions
from broker.kafka.end_txn import EndTxn
from broker.kafka.init_producer_id import InitProducerId
from broker.kafka.list_transactions import ListTransactions
from broker.kafka.messages import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    describe_transactions,
    end_txn,
    init_producer_id,
    list_transactions,
    txn_offset_commit,
    write_txn_markers,
)
from broker.kafka.schema import Structure, decode, encode
from broker.kafka.txn_offset_commit import TxnOffsetCommit
from broker.kafka.write_txn_markers import WriteTxnMarkers
from broker.replication.verification import Transaction
from kraftpy.error_codes import class_for
from kraftpy.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    InvalidGroupIdError,
    InvalidProducerEpochError,
    InvalidRegularExpressionError,
    InvalidTxnStateError,
    KraftpyError,
    NetworkError,
    NotCoordinatorError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OperationNotAttemptedError,
    ProducerFencedError,
    TransactionAbortableError,
    TransactionalIdAuthorizationFailedError,
    TransactionalIdNotFoundError,
    UnknownTopicOrPartitionError,
)
from kraftpy.runtime.ports import Address, FileSlice
from tests.coordinator.transactions.stage import Stage

TOPIC_IDS = {"a": UUID(int=10), "b": UUID(int=11)}
PARTITIONS = {"a": 2, "b": 1, "__consumer_offsets": 1}


class Node:
    """As `TransactionService` to the handlers."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.offsets = self
        self.commits: list[tuple[Transaction, CommitOffsetsInTransaction]] = []
        self.refusal: KraftpyError | None = None
        self.markers: list[MarkerRequest] = []
        behind: Any = self
        handlers: Sequence[Any] = (
            InitProducerId(self._next_id, behind),
            *(each(behind) for each in (AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit)),
            *(each(behind) for each in (WriteTxnMarkers, DescribeTransactions, ListTransactions)),
        )
        self.apis: dict[ApiKey, Api] = {handler.api().key: handler.api() for handler in handlers}

    def call(self, key: ApiKey, version: int, request: Structure) -> Any:
        api = self.apis[key]
        assert api.response is not None
        flexible = version >= api.flexible_from
        body = memoryview(bytes(encode(request, version, flexible=flexible)))

        async def answered() -> bytes:
            parts = await api.handler(Request(version, 1, "client", Address("10.0.0.9", 5), body))
            return b"".join(bytes(part) for part in parts if not isinstance(part, FileSlice))

        return decode(api.response, asyncio.run(answered()), version, flexible=flexible)

    async def _next_id(self) -> int:
        return 4_711

    def missing(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, KraftpyError]:
        absent = UnknownTopicOrPartitionError("it is not there")
        return {each: absent for each in partitions if each.partition >= PARTITIONS.get(each.topic, 0)}

    def topic_id(self, topic: str) -> UUID | None:
        return TOPIC_IDS.get(topic)

    async def submit(self, transactional_id: str, command: Any) -> Any:
        return self.stage.ask(command)

    async def add_offsets(self, producer: TransactionalProducer, group_id: str, version: ProtocolVersion) -> None:
        place = TopicPartition("__consumer_offsets", 0)
        self.stage.ask(AddPartitions(producer, (place,), ProtocolVersion.FIRST))

    async def list_transactions(self, command: Any) -> Any:
        if self.refusal is not None:
            raise self.refusal
        return self.stage.ask(command)

    async def commit(self, transaction: Transaction, command: CommitOffsetsInTransaction) -> OffsetResults:
        if self.refusal is not None:
            raise self.refusal
        self.commits.append((transaction, command))
        return OffsetResults((None,) * (len(command.offsets) - 1) + (FencedInstanceIdError("another has it"),))

    async def write_markers(self, requests: list[MarkerRequest]) -> list[list[KraftpyError | None]]:
        self.markers += requests
        if self.refusal is not None:
            return [[self.refusal] * len(places) for _, places in requests]
        return [[None, *[NotEnoughReplicasError("one is not enough")] * (len(places) - 1)] for _, places in requests]

    # --- in short ---

    def init(self, version: int = 5, **fields: Any) -> Any:
        asked = {"transactional_id": "t", "transaction_timeout_ms": 60_000, **fields}
        return self.call(ApiKey.INIT_PRODUCER_ID, version, init_producer_id.InitProducerIdRequest(**asked))

    def end(self, version: int, epoch: int, *, commit: bool = True, producer_id: int = 100) -> Any:
        request = end_txn.EndTxnRequest(
            transactional_id="t", producer_id=producer_id, producer_epoch=epoch, committed=commit
        )
        return self.call(ApiKey.END_TXN, version, request)

    def add(self, version: int, epoch: int, **topics: tuple[int, ...]) -> dict[tuple[str, int], type | None]:
        module = add_partitions_to_txn
        wanted = tuple(module.PartitionsOfTopic(name=name, partitions=places) for name, places in topics.items())
        fields: dict[str, Any] = {"producer_id": 100, "producer_epoch": epoch, "topics": wanted}
        if version >= module.MANY_FROM:
            asked = module.AskedTransaction(transactional_id="t", **fields)
            request = module.AddPartitionsToTxnRequest(transactions=(asked,))
            found = self.call(ApiKey.ADD_PARTITIONS_TO_TXN, version, request).transactions[0].topics
        else:
            request = module.AddPartitionsToTxnRequest(transactional_id="t", **fields)
            found = self.call(ApiKey.ADD_PARTITIONS_TO_TXN, version, request).topics
        return {(topic.name, each.partition): named(each.error) for topic in found for each in topic.partitions}


def named(code: int) -> type[KraftpyError] | None:
    return class_for(code) if code else None


@pytest.mark.parametrize("version", range(6))
def test_a_transaction_in_every_version(version: int) -> None:
    node = Node()
    given = node.init()
    assert (given.error, given.producer_id, given.producer_epoch) == (0, 100, 0)
    assert node.add(min(version, 3), 0, a=(0, 1), b=(0,)) == {("a", 0): None, ("a", 1): None, ("b", 0): None}
    ended = node.end(version, 0)
    assert ended.error == 0
    assert (ended.producer_id, ended.producer_epoch) == ((100, 1) if version >= 5 else (-1, -1))
    assert [each.partition for each in node.stage.write_markers()[0].partitions] == [0, 1, 0]


@pytest.mark.parametrize("version", range(6))
def test_all_partitions_or_none(version: int) -> None:
    node = Node()
    node.init()
    assert node.add(version, 0, a=(0, 7), c=(0,)) == {
        ("a", 0): OperationNotAttemptedError,
        ("a", 7): UnknownTopicOrPartitionError,
        ("c", 0): UnknownTopicOrPartitionError,
    }
    fenced = InvalidProducerEpochError if version < 2 else ProducerFencedError
    assert node.add(version, 9, a=(0,)) == {("a", 0): fenced}


def test_brokers_may_only_ask() -> None:
    node = Node()
    node.init()
    node.add(3, 0, a=(0,))
    module = add_partitions_to_txn
    topics = (module.PartitionsOfTopic(name="a", partitions=(0, 1)),)
    asked = module.AskedTransaction(
        transactional_id="t", producer_id=100, producer_epoch=0, verify_only=True, topics=topics
    )
    answer = node.call(ApiKey.ADD_PARTITIONS_TO_TXN, 5, module.AddPartitionsToTxnRequest(transactions=(asked,)))
    places = answer.transactions[0].topics[0].partitions
    assert [named(each.error) for each in places] == [None, TransactionAbortableError]


@pytest.mark.parametrize("version", range(7))
def test_who_is_fenced_by_the_version_that_is_spoken(version: int) -> None:
    node = Node()
    node.init()
    node.init()
    fields = {"producer_id": 100, "producer_epoch": 0} if version >= 3 else {}
    answer = node.init(version, **fields)
    if version < 3:
        assert (answer.error, answer.producer_epoch) == (0, 2)
    else:
        fenced = InvalidProducerEpochError if version < 4 else ProducerFencedError
        assert (named(answer.error), answer.producer_id, answer.producer_epoch) == (fenced, -1, -1)
    assert named(node.end(min(version, 5), 0).error) is (
        InvalidProducerEpochError if version < 2 else ProducerFencedError
    )


def test_two_phase_commit_is_not_enabled() -> None:
    for flag in ("enable_two_phase_commit", "keep_prepared_transaction"):
        assert named(Node().init(6, **{flag: True}).error) is TransactionalIdAuthorizationFailedError
    assert Node().init(5, transactional_id=None).producer_id == 4_711


@pytest.mark.parametrize("version", range(5))
def test_offsets_are_announced(version: int) -> None:
    node = Node()
    node.init()

    def added(epoch: int) -> type[KraftpyError] | None:
        request = add_offsets_to_txn.AddOffsetsToTxnRequest(
            transactional_id="t", producer_id=100, producer_epoch=epoch, group_id="g"
        )
        return named(node.call(ApiKey.ADD_OFFSETS_TO_TXN, version, request).error)

    assert added(0) is None
    assert node.stage.metadata().partitions == (("__consumer_offsets", 0),)
    assert added(4) is (InvalidProducerEpochError if version < 2 else ProducerFencedError)


def commit_offsets(node: Node, version: int, group_id: str = "g") -> list[type[KraftpyError] | None]:
    module = txn_offset_commit
    places = tuple(module.TxnOffsetCommitPartition(partition=each, offset=5, metadata=None) for each in (0, 1, 7))
    request = module.TxnOffsetCommitRequest(
        transactional_id="t",
        group_id=group_id,
        producer_id=100,
        producer_epoch=0,
        topics=(module.TxnOffsetCommitTopic(name="a", partitions=places),),
    )
    answer = node.call(ApiKey.TXN_OFFSET_COMMIT, version, request)
    return [named(each.error) for each in answer.topics[0].partitions]


@pytest.mark.parametrize("version", range(6))
def test_offsets_come(version: int) -> None:
    node = Node()
    assert commit_offsets(node, version) == [None, FencedInstanceIdError, UnknownTopicOrPartitionError]
    ((transaction, command),) = node.commits
    assert transaction == Transaction("t", adds_partitions=version >= 5)
    assert [(each.topic, each.partition, each.offset) for each in command.offsets] == [("a", 0, 5), ("a", 1, 5)]
    assert [each.topic_id for each in command.offsets] == [UUID(int=10)] * 2, "else a later topic a would begin there"
    node.refusal = TransactionAbortableError("it has ended")
    refused = TransactionAbortableError if version >= 4 else InvalidTxnStateError
    assert commit_offsets(node, version)[:2] == [refused, refused]
    assert commit_offsets(node, version, "")[:2] == [InvalidGroupIdError] * 2
    node.refusal = ProducerFencedError("another has taken over")
    assert commit_offsets(node, version)[:2] == [InvalidProducerEpochError] * 2, "all clients know that one here"


@pytest.mark.parametrize("version", range(6))
@pytest.mark.parametrize("refusal", [CoordinatorLoadInProgressError("it reads"), NetworkError("it is far away")])
def test_producers_before_kafka_2_0_do_not_know_of_loading(version: int, refusal: KraftpyError) -> None:
    """KAFKA-7296: they may fall over it."""
    node = Node()
    node.refusal = refusal
    told = CoordinatorNotAvailableError if version < 2 else CoordinatorLoadInProgressError
    assert commit_offsets(node, version)[:2] == [told, told]


def test_markers_of_an_administrator() -> None:
    module, node = write_txn_markers, Node()
    topics = (module.PartitionsOfTopic(name="a", partitions=(0, 1)),)
    marker = module.WritableMarker(
        producer_id=100, producer_epoch=3, committed=False, topics=topics, coordinator_epoch=9
    )
    answer = node.call(ApiKey.WRITE_TXN_MARKERS, 1, module.WriteTxnMarkersRequest(markers=(marker,)))
    assert [named(each.error) for each in answer.markers[0].topics[0].partitions] == [None, NotEnoughReplicasError]
    ((told, places),) = node.markers
    assert (told.producer, told.coordinator_epoch, told.commit, told.bumps_epoch) == ((100, 3), 9, False, False)
    assert places == (("a", 0), ("a", 1))
    for refusal in (NotCoordinatorError, CoordinatorLoadInProgressError, CoordinatorNotAvailableError):
        node.refusal = refusal("of the groups whose offsets these are")
        answer = node.call(ApiKey.WRITE_TXN_MARKERS, 1, module.WriteTxnMarkersRequest(markers=(marker,)))
        refusals = [named(each.error) for each in answer.markers[0].topics[0].partitions]
        assert refusals == [NotLeaderOrFollowerError] * 2, "whoever writes markers asks leaders"


def test_looking_at_transactions() -> None:
    node = Node()
    node.init()
    node.add(3, 0, b=(0,), a=(0, 1))
    request = describe_transactions.DescribeTransactionsRequest(transactional_ids=("t", "none"))
    found, absent = node.call(ApiKey.DESCRIBE_TRANSACTIONS, 0, request).transactions
    assert (found.error, found.state, found.timeout_ms, found.producer_id) == (0, "Ongoing", 60_000, 100)
    assert [(each.topic, each.partitions) for each in found.topics] == [("a", (0, 1)), ("b", (0,))]
    assert found.start_time_ms == node.stage.now.wall_ms
    assert (named(absent.error), absent.transactional_id) == (TransactionalIdNotFoundError, "none")

    def listed(*states: str, version: int = 1) -> Any:
        asked = list_transactions.ListTransactionsRequest(states=states, producer_ids=())
        return node.call(ApiKey.LIST_TRANSACTIONS, version, asked)

    assert [(each.transactional_id, each.state) for each in listed().transactions] == [("t", "Ongoing")]
    assert listed("Empty", "Sleeping").unknown_states == ("Sleeping",)
    assert listed("Sleeping", version=0).transactions == ()
    assert [each.transactional_id for each in listed("Ongoing", "Sleeping").transactions] == ["t"]

    def called(pattern: str | None) -> Any:
        asked = list_transactions.ListTransactionsRequest(states=(), producer_ids=(), transactional_id_pattern=pattern)
        return node.call(ApiKey.LIST_TRANSACTIONS, 2, asked)

    for pattern, found in (("t", ["t"]), ("t.+", []), ("[a-t]?", ["t"]), ("", ["t"]), (None, ["t"])):
        assert [each.transactional_id for each in called(pattern).transactions] == found
    assert named(called("(").error) is InvalidRegularExpressionError
    node.refusal = CoordinatorLoadInProgressError("wait")
    assert named(listed().error) is CoordinatorLoadInProgressError
