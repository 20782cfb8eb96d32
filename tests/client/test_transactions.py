"""Transactional producers, against a coordinator in memory on virtual time."""

import asyncio
import traceback
from typing import Any

import pytest

from kraftpy.client.transaction_state import Stage, TransactionState
from kraftpy.client.values import GroupMetadata, OffsetAndMetadata, TopicPartition
from kraftpy.errors import (
    CallTimeoutError,
    CommitFailedError,
    ConcurrentTransactionsError,
    CoordinatorLoadInProgressError,
    InvalidTxnStateError,
    KraftpyError,
    NotCoordinatorError,
    NotEnoughReplicasError,
    PolicyViolationError,
    ProducerFencedError,
    TransactionAbortableError,
    TransactionAbortedError,
)
from tests.client.fake_broker import FakeCluster
from tests.client.fake_groups import FakeGroups
from tests.client.fake_transactions import FakeTransactions
from tests.client.support import consumer, producer, run


async def stage(**topics: int) -> tuple[FakeCluster, FakeGroups, FakeTransactions]:
    cluster = FakeCluster(3)
    for name, partitions in (topics or {"lines": 2}).items():
        cluster.create(name, partitions)
    groups = FakeGroups(cluster)
    transactions = FakeTransactions(cluster, groups)
    await asyncio.sleep(0.1)
    return cluster, groups, transactions


def writer(cluster: FakeCluster, **settings: Any) -> Any:
    settings.setdefault("transactional_id", "t")
    return producer(cluster, linger_ms=0, **settings)


def test_all_of_it_or_nothing() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster) as sender:
            async with sender.transaction():
                await sender.send("lines", b"a", partition=0)
                await sender.send("lines", b"b", partition=1)
                assert transactions.committed("lines") == []
            assert (transactions.committed("lines", 0), transactions.committed("lines", 1)) == ([b"a"], [b"b"])
            with pytest.raises(LookupError):
                async with sender.transaction():
                    await (await sender.send("lines", b"no", partition=0))
                    raise LookupError
            for number in range(5):
                async with sender.transaction():
                    for index in range(20):
                        await sender.send("lines", b"%d-%d" % (number, index), partition=0)
            async with sender.transaction():
                pass  # nothing to tell anybody
        values = transactions.committed("lines")
        assert len(values) == 101 and b"no" not in values
        assert transactions.calls.count("EndTransaction") == 7 and transactions.calls.count("InitProducerId") == 1
        groups.stop()

    run(story)


def test_sending_without_a_transaction_is_refused() -> None:
    async def story() -> None:
        cluster, groups, _ = await stage()
        async with writer(cluster) as sender:
            with pytest.raises(InvalidTxnStateError, match="no transaction is open"):
                await sender.send("lines", b"x")
            await sender.begin_transaction()
            with pytest.raises(InvalidTxnStateError, match="not ended"):
                await sender.begin_transaction()
            await sender.abort_transaction()
            with pytest.raises(InvalidTxnStateError, match="no transaction of t to commit"):
                await sender.commit_transaction()
        async with producer(cluster) as plain:
            with pytest.raises(InvalidTxnStateError, match="no transactional_id"):
                await plain.begin_transaction()
        groups.stop()

    run(story)


def test_a_zombie_is_fenced() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        old, new = writer(cluster), writer(cluster)
        await old.begin_transaction()
        await (await old.send("lines", b"old", partition=0))
        async with new.transaction():
            await new.send("lines", b"new", partition=0)
        with pytest.raises(ProducerFencedError, match="another producer has taken over t"):
            await old.commit_transaction()
        with pytest.raises(ProducerFencedError):
            await old.begin_transaction()
        with pytest.raises(ProducerFencedError):
            await old.send("lines", b"more")
        assert transactions.committed("lines") == [b"new"]
        await old.close()
        await new.close()
        groups.stop()

    run(story)


def test_a_zombie_that_sends_is_fenced_by_the_leader() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        old, new = writer(cluster), writer(cluster)
        await old.begin_transaction()
        async with new.transaction():
            await new.send("lines", b"new", partition=0)
        delivery = await old.send("lines", b"old", partition=0)
        with pytest.raises(KraftpyError):
            await delivery
        with pytest.raises(ProducerFencedError):
            await old.commit_transaction()
        assert transactions.committed("lines") == [b"new"]
        await old.close()
        await new.close()
        groups.stop()

    run(story)


def test_what_was_not_delivered_makes_the_transaction_abort() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster) as sender:
            cluster.partition("lines", 1).fail_next.append((PolicyViolationError, False))
            with pytest.raises(PolicyViolationError):
                async with sender.transaction():
                    await sender.send("lines", b"a", partition=0)
                    await sender.send("lines", b"b", partition=1)
                    await asyncio.sleep(0.01)
                    with pytest.raises(TransactionAbortableError):
                        await sender.send("lines", b"too late", partition=0)
                    try:
                        await sender.flush()
                    except KraftpyError:
                        pass  # swallowed, and yet not forgotten
            assert transactions.committed("lines", 0) == transactions.committed("lines", 1) == []
            async with sender.transaction():
                await sender.send("lines", b"again", partition=1)
            assert transactions.committed("lines", 1) == [b"again"]
        groups.stop()

    run(story)


def test_a_partition_that_knows_of_no_transaction_makes_it_abort() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster) as sender:
            cluster.partition("lines", 0).fail_next.append((InvalidTxnStateError, False))
            with pytest.raises(TransactionAbortableError):
                async with sender.transaction():
                    await sender.send("lines", b"a", partition=0)
            async with sender.transaction():
                await sender.send("lines", b"again", partition=0)
            assert transactions.committed("lines", 0) == [b"again"]
        groups.stop()

    run(story)


def test_a_failed_transaction_can_only_be_aborted() -> None:
    async def story() -> None:
        cluster, groups, _ = await stage()
        async with writer(cluster) as sender:
            await sender.begin_transaction()
            cluster.partition("lines", 0).fail_next.append((PolicyViolationError, False))
            delivery = await sender.send("lines", b"a", partition=0)
            with pytest.raises(PolicyViolationError):
                await delivery
            with pytest.raises(PolicyViolationError):
                await sender.commit_transaction()
            with pytest.raises(TransactionAbortableError, match="must be aborted"):
                await sender.commit_transaction()
            await sender.abort_transaction()
            async with sender.transaction():
                await sender.send("lines", b"b", partition=0)
        groups.stop()

    run(story)


def test_retries_inside_a_transaction_write_once() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster, batch_size=1) as sender:
            cluster.partition("lines").fail_next.extend([(NotEnoughReplicasError, False), (NotCoordinatorError, True)])
            cluster.lose_answers = 2
            async with sender.transaction():
                for number in range(20):
                    await sender.send("lines", b"%d" % number, partition=0)
                cluster.move_leader("lines", 0, 2)
        assert transactions.committed("lines") == [b"%d" % number for number in range(20)]
        groups.stop()

    run(story)


def test_a_coordinator_that_moves_or_loads_only_takes_longer() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        transactions.refuse("InitProducerId", NotCoordinatorError(), CoordinatorLoadInProgressError())
        transactions.refuse("EndTransaction", ConcurrentTransactionsError(), NotCoordinatorError())
        async with writer(cluster) as sender, sender.transaction():
            await sender.send("lines", b"a", partition=0)
        assert transactions.committed("lines") == [b"a"]
        groups.stop()

    run(story)


async def commit_unanswered(sender: Any, transactions: FakeTransactions) -> None:
    """The coordinator does not answer for as long as the producer asks for the commit."""
    await sender.begin_transaction()
    await sender.send("lines", b"a", partition=0)
    transactions.refuse("EndTransaction", *[CoordinatorLoadInProgressError() for _ in range(100)])
    with pytest.raises(CallTimeoutError, match="no answer about the transaction of t"):
        await sender.commit_transaction()
    transactions.faults.clear()


def test_a_commit_without_an_answer_may_be_asked_for_again() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster, max_block_ms=2_000) as sender:
            await commit_unanswered(sender, transactions)
            with pytest.raises(InvalidTxnStateError):
                await sender.abort_transaction()
            await sender.commit_transaction()
            assert transactions.committed("lines") == [b"a"]
            async with sender.transaction():
                await sender.send("lines", b"b", partition=0)
        groups.stop()

    run(story)


async def commit_in_vain(sender: Any, transactions: FakeTransactions) -> None:
    """A time-out around the block ends it while the coordinator is asked to commit, and does not answer."""
    transactions.refuse("EndTransaction", *[CoordinatorLoadInProgressError() for _ in range(100)])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), sender.transaction():
            await sender.send("lines", b"a", partition=0)
    assert transactions.by_id["t"].is_open
    transactions.faults.clear()


def test_after_a_commit_that_was_cancelled_the_next_transaction_says_what_to_do() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster) as sender:
            await commit_in_vain(sender, transactions)
            with pytest.raises(InvalidTxnStateError, match=r"call commit_transaction\(\) again"):
                await sender.begin_transaction()
            await sender.commit_transaction()
            async with sender.transaction():
                await sender.send("lines", b"b", partition=0)
            assert transactions.committed("lines") == [b"a", b"b"]
        groups.stop()

    run(story)


async def abort_in_vain(sender: Any, transactions: FakeTransactions) -> None:
    """The coordinator does not answer for as long as the producer asks."""
    transactions.refuse("EndTransaction", *[CoordinatorLoadInProgressError() for _ in range(100)])
    with pytest.raises(LookupError):
        async with sender.transaction():
            await (await sender.send("lines", b"no", partition=0))
            raise LookupError
    assert transactions.by_id["t"].is_open
    transactions.faults.clear()


def test_an_abort_without_an_answer_is_asked_for_again_by_the_next_transaction() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster, max_block_ms=2_000) as sender:
            await abort_in_vain(sender, transactions)
            async with sender.transaction():
                await sender.send("lines", b"a", partition=0)
            assert transactions.committed("lines") == [b"a"]
        groups.stop()

    run(story)


def test_a_commit_that_was_cancelled_is_an_abort_for_the_next_transaction() -> None:
    """As by a time-out around the block, while what was sent is still being delivered."""

    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster, request_timeout_ms=1_000) as sender:
            async with sender.transaction():
                await sender.send("lines", b"a", partition=0)
            cluster.silent |= {1, 2, 3}
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1), sender.transaction():
                    await sender.send("lines", b"late", partition=0)
            cluster.silent.clear()
            async with sender.transaction():
                await sender.send("lines", b"b", partition=0)
            assert transactions.committed("lines") == [b"a", b"b"]
        groups.stop()

    run(story)


def test_closing_aborts_what_could_not_be_aborted_before() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster, max_block_ms=2_000) as sender:
            await abort_in_vain(sender, transactions)
        assert not transactions.by_id["t"].is_open and transactions.committed("lines") == []
        groups.stop()

    run(story)


def test_nothing_is_sent_into_a_transaction_that_is_being_committed() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster) as sender:
            await sender.begin_transaction()
            await sender.send("lines", b"a", partition=0)
            committing = asyncio.ensure_future(sender.commit_transaction())
            await asyncio.sleep(0)
            with pytest.raises(InvalidTxnStateError, match="being committed"):
                await sender.send("lines", b"late", partition=1)
            await committing
            assert (transactions.committed("lines", 0), transactions.committed("lines", 1)) == ([b"a"], [])
            async with sender.transaction():
                await sender.send("lines", b"next", partition=1)
        assert transactions.committed("lines", 1) == [b"next"]
        groups.stop()

    run(story)


def test_closing_aborts_what_is_open() -> None:
    async def story() -> None:
        cluster, groups, transactions = await stage()
        async with writer(cluster) as sender:
            await sender.begin_transaction()
            await (await sender.send("lines", b"a", partition=0))
        assert not transactions.by_id["t"].is_open and transactions.committed("lines") == []
        groups.stop()

    run(story)


def test_an_abort_drops_what_was_not_sent() -> None:
    async def story() -> None:
        cluster, groups, _ = await stage()
        async with producer(cluster, transactional_id="t", linger_ms=60_000) as sender:
            await sender.begin_transaction()
            delivery = await sender.send("lines", b"a", partition=0)
            await sender.abort_transaction()
            with pytest.raises(TransactionAbortedError):
                await delivery
        assert cluster.values("lines") == []
        groups.stop()

    run(story)


def test_offsets_inside_of_a_transaction() -> None:
    """Read, process, write: the offsets count exactly if the records do."""

    async def story() -> None:
        cluster, groups, transactions = await stage(source=1, target=1)
        place = TopicPartition("source", 0)
        async with producer(cluster) as feeder:
            for number in range(10):
                await feeder.send("source", b"%d" % number)
        async with (
            consumer(cluster, "source", group_id="g", auto_commit=False, max_poll_records=5) as reader,
            writer(cluster) as sender,
        ):
            for attempt in range(2):
                records: list[Any] = []
                while not records:
                    records = await reader.poll(timeout=1)
                try:
                    async with sender.transaction():
                        for record in records:
                            await sender.send("target", record.value)
                        await sender.send_offsets(records, reader.group_metadata())
                        if attempt == 0:
                            raise LookupError
                except LookupError:
                    assert (await reader.committed([place]))[place] is None
                    reader.seek(place, 0)
            assert (await reader.committed([place]))[place] == OffsetAndMetadata(5, leader_epoch=1)
            assert transactions.committed("target") == [b"%d" % number for number in range(5)]
            with pytest.raises(CommitFailedError, match="must be aborted"):
                async with sender.transaction():
                    stale = reader.group_metadata()._replace(generation=0)
                    await sender.send_offsets({place: 9}, stale)
            async with sender.transaction():
                await sender.send_offsets({place: 7}, GroupMetadata("other", "", -1, None))
        groups.stop()

    run(story)


def test_what_may_follow_what() -> None:
    state = TransactionState("t")
    with pytest.raises(InvalidTxnStateError):
        state.begin()
    state.ready()
    state.begin()
    state.check_send()
    assert isinstance(state.failed(PolicyViolationError("no")), PolicyViolationError)
    assert state.stage is Stage.FAILED
    with pytest.raises(TransactionAbortableError):
        state.check_send()
    state.end(commit=False)
    state.ready()
    assert state.error is None
    assert isinstance(state.failed(ProducerFencedError()), ProducerFencedError)
    for asked in (state.begin, state.check_send, lambda: state.end(commit=True), lambda: state.end(commit=False)):
        with pytest.raises(ProducerFencedError):
            asked()


def test_a_fatal_error_does_not_grow_with_each_raise() -> None:
    state = TransactionState("t")
    state.failed(ProducerFencedError())
    lengths = []
    for _ in range(3):
        with pytest.raises(ProducerFencedError) as caught:
            state.begin()
        lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert lengths[0] == lengths[1] == lengths[2]
