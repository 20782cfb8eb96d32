"""What a producer does when brokers fail, move and fall silent: nothing lost, nothing twice, nothing reordered."""

import asyncio
import traceback
from typing import Any

import pytest

from kraftpy.errors import (
    BufferExhaustedError,
    ClosedError,
    CorruptRecordError,
    DeliveryTimeoutError,
    InvalidRecordError,
    KraftpyError,
    NoBrokersAvailableError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceError,
    RecordTooLargeError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    UnknownProducerIdError,
    UnknownServerError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import client_pb2
from kraftpy.record import check_batch
from tests.client.fake_broker import FakeCluster
from tests.client.support import producer, run


def lines(partitions: int = 1) -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", partitions)
    return cluster


async def send_numbers(sender: Any, first: int, count: int, **settings: Any) -> list[Any]:
    return [await sender.send("lines", b"%04d" % number, **settings) for number in range(first, first + count)]


def numbers(first: int, count: int) -> list[bytes]:
    return [b"%04d" % number for number in range(first, first + count)]


@pytest.mark.parametrize(
    ("error", "written"),
    [
        (NotEnoughReplicasError, False),
        (NotEnoughReplicasAfterAppendError, True),
        (RequestTimedOutError, True),
        (NotLeaderOrFollowerError, True),
        (NotLeaderOrFollowerError, False),
        (CorruptRecordError, False),
        (UnknownTopicOrPartitionError, False),
    ],
)
def test_a_passing_error_is_retried_without_a_trace(error: type[KraftpyError], written: bool) -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster, batch_size=200, linger_ms=0) as sender:
            await send_numbers(sender, 0, 20)
            await sender.flush()
            cluster.partition("lines").fail_next.extend([(error, written), (error, False)])
            deliveries = await send_numbers(sender, 20, 60)
            await sender.flush()
            assert [delivery.result().offset for delivery in deliveries] == list(range(20, 80))
        assert cluster.values("lines") == numbers(0, 80)

    run(story)


def test_a_lost_answer_never_writes_twice() -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster, batch_size=200, linger_ms=0) as sender:
            for first in range(0, 200, 20):
                cluster.lose_answers = 2
                deliveries = await send_numbers(sender, first, 20)
                await sender.flush()
                assert [delivery.result().offset for delivery in deliveries] == list(range(first, first + 20))
        assert cluster.values("lines") == numbers(0, 200)

    run(story)


def test_answers_that_overtake_each_other_do_not_change_the_order_of_callbacks() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.latency_s = lambda: cluster.random.uniform(0, 0.05)
        told: list[int] = []

        async with producer(cluster, batch_size=150, linger_ms=0) as sender:
            for number in range(100):
                await sender.send(
                    "lines", b"%04d" % number, on_delivery=lambda m, e: told.append(m.offset if m else -1)
                )
                await asyncio.sleep(0.002)
        assert told == list(range(100))
        assert cluster.values("lines") == numbers(0, 100)

    for seed in range(5):
        run(story, seed=seed)


def test_a_leader_that_moves_is_followed_at_once_when_the_old_one_says_where() -> None:
    async def story() -> None:
        cluster = lines()
        loop = asyncio.get_running_loop()
        async with producer(cluster) as sender:
            await (await sender.send("lines", b"0"))
            cluster.move_leader("lines", 0, 2)
            started = loop.time()
            await (await sender.send("lines", b"1"))
            assert loop.time() - started < 0.05

    run(story)


def test_a_leader_that_moves_is_followed_soon_without_being_told() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.hints = False
        loop = asyncio.get_running_loop()
        async with producer(cluster) as sender:
            await (await sender.send("lines", b"0"))
            cluster.move_leader("lines", 0, 2)
            started = loop.time()
            await (await sender.send("lines", b"1"))
            assert loop.time() - started < 0.3

    run(story)


def test_a_killed_leader_is_left_as_soon_as_another_leads() -> None:
    async def story() -> None:
        cluster = lines()
        loop = asyncio.get_running_loop()
        async with producer(cluster) as sender:
            await (await sender.send("lines", b"0"))
            cluster.down.add(1)
            cluster.break_streams()
            delivery = await sender.send("lines", b"1")
            await asyncio.sleep(1)
            assert not delivery.done()
            cluster.move_leader("lines", 0, 3)
            elected = loop.time()
            await delivery
            assert loop.time() - elected < 0.3

    run(story)


def test_a_silent_leader_is_left_as_soon_as_another_leads() -> None:
    async def story() -> None:
        cluster = lines()
        loop = asyncio.get_running_loop()
        async with producer(cluster) as sender:
            await (await sender.send("lines", b"0"))
            cluster.silent.add(1)
            delivery = await sender.send("lines", b"1")
            await asyncio.sleep(2)
            cluster.move_leader("lines", 0, 3)
            elected = loop.time()
            await delivery
            assert loop.time() - elected < 2
        assert cluster.values("lines") == [b"0", b"1"]

    run(story)


def test_a_silent_node_that_stays_the_leader_is_asked_again_after_request_timeout() -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster, request_timeout_ms=3_000) as sender:
            await (await sender.send("lines", b"0"))
            cluster.silent.add(1)
            delivery = await sender.send("lines", b"1")
            await asyncio.sleep(2.5)
            cluster.silent.clear()  # what it swallowed is gone, the connection is not
            await asyncio.sleep(0.3)
            assert not delivery.done()
            assert (await delivery).offset == 1

    run(story)


def test_a_record_that_cannot_be_delivered_in_time_says_so_and_the_next_goes_on() -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster, delivery_timeout_ms=2_000) as sender:
            await (await sender.send("lines", b"0"))
            cluster.silent |= {1, 2, 3}
            lost = await sender.send("lines", b"1")
            with pytest.raises(DeliveryTimeoutError, match="within 2000 ms, it may have been written"):
                await lost
            cluster.silent.clear()
            cluster.break_streams()
            assert (await (await sender.send("lines", b"2"))).offset == 1
            with pytest.raises(DeliveryTimeoutError):
                await sender.flush()
            await sender.flush()
        assert cluster.values("lines") == [b"0", b"2"]
        epochs = [check_batch(batch).producer_epoch for batch in cluster.partition("lines").batches]
        assert epochs == [0, 1]  # numbered anew, because nobody knows whether "1" was written

    run(story)


def test_a_record_that_was_given_up_but_written_is_followed_by_the_rest_once() -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster, delivery_timeout_ms=2_000, batch_size=150, linger_ms=0) as sender:
            await (await sender.send("lines", b"first"))
            place = cluster.partition("lines")
            place.fail_next.extend([(RequestTimedOutError, True)] * 3 + [(RequestTimedOutError, False)] * 300)
            lost = await send_numbers(sender, 0, 12)
            with pytest.raises(DeliveryTimeoutError, match="REQUEST_TIMED_OUT"):
                await lost[0]
            place.fail_next.clear()
            await asyncio.sleep(3)
            await send_numbers(sender, 100, 12)
            with pytest.raises(DeliveryTimeoutError):
                await sender.flush()
        written = cluster.values("lines")
        assert len(written) == len(set(written))
        assert written[-12:] == numbers(100, 12)
        assert written == sorted(written[1:-12], key=written.index)[:0] + written  # order as sent
        assert written[1:-12] == sorted(written[1:-12])

    run(story)


def test_kafka_14034_an_unclear_error_fails_its_batch_and_never_doubles_the_next() -> None:
    """B1 ends in UNKNOWN_SERVER_ERROR while B2's answer is lost: B2 must not be numbered anew, it may be written."""

    async def story(b1_written: bool) -> None:
        cluster = lines()
        cluster.latency_s = lambda: 0.01
        async with producer(cluster, batch_size=100, linger_ms=0) as sender:
            await (await sender.send("lines", b"first"))
            cluster.partition("lines").fail_next.append((UnknownServerError, b1_written))
            deliveries = await send_numbers(sender, 0, 8)
            await asyncio.sleep(0.012)
            cluster.break_streams()
            errors = [await wait_for_error(delivery) for delivery in deliveries]
            await send_numbers(sender, 100, 8)
            try:
                await sender.flush()
            except KraftpyError:
                pass
            written = cluster.values("lines")
            assert len(written) == len(set(written))
            delivered = [value for value, error in zip(numbers(0, 8), errors, strict=True) if error is None]
            assert set(delivered) <= set(written)
            assert written[-8:] == numbers(100, 8)

    run(lambda: story(True))
    run(lambda: story(False))


async def wait_for_error(delivery: Any) -> KraftpyError | None:
    try:
        await delivery
    except KraftpyError as error:
        return error
    return None


@pytest.mark.parametrize("error", [InvalidRecordError, TopicAuthorizationFailedError])
def test_a_batch_that_is_refused_for_good_does_not_hold_up_the_next(error: type[KraftpyError]) -> None:
    async def story() -> None:
        cluster = lines()
        cluster.latency_s = lambda: 0.01
        async with producer(cluster, batch_size=100, linger_ms=0) as sender:
            await (await sender.send("lines", b"first"))
            cluster.partition("lines").fail_next.append((error, False))
            deliveries = await send_numbers(sender, 0, 8)
            outcomes = [await wait_for_error(delivery) for delivery in deliveries]
            assert isinstance(outcomes[0], error)
            assert outcomes[-1] is None
            delivered = [value for value, outcome in zip(numbers(0, 8), outcomes, strict=True) if outcome is None]
            assert cluster.values("lines")[1:] == delivered
            with pytest.raises(error):
                await sender.flush()

    run(story)


@pytest.mark.parametrize("error", [OutOfOrderSequenceError, UnknownProducerIdError])
def test_a_leader_that_forgot_the_producer_is_met_with_new_numbers(error: type[KraftpyError]) -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster) as sender:
            await (await sender.send("lines", b"0"))
            place = cluster.partition("lines")
            place.producers.clear()
            place.fail_next.append((error, False))
            assert (await (await sender.send("lines", b"1"))).offset == 1
        assert cluster.values("lines") == [b"0", b"1"]
        headers = [check_batch(batch) for batch in place.batches]
        assert headers[1].base_sequence == 0
        anew = (headers[0].producer_id, 1) if error is OutOfOrderSequenceError else (headers[0].producer_id + 1, 0)
        assert (headers[1].producer_id, headers[1].producer_epoch) == anew

    run(story)


def test_a_batch_that_is_too_large_for_its_topic_is_split() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.max_message_bytes = 400
        told: list[int] = []
        async with producer(cluster, linger_ms=20) as sender:
            deliveries = [
                await sender.send(
                    "lines", b"%04d" % number * 10, on_delivery=lambda m, e: told.append(m.offset if m else -1)
                )
                for number in range(40)
            ]
            assert [(await delivery).offset for delivery in deliveries] == list(range(40))
        assert cluster.values("lines") == [b"%04d" % number * 10 for number in range(40)]
        assert told == list(range(40))
        assert max(map(len, cluster.partition("lines").batches)) <= 400

    run(story)


def test_a_record_that_is_too_large_even_alone_fails_alone() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.max_message_bytes = 400
        async with producer(cluster, linger_ms=20) as sender:
            good = await sender.send("lines", b"small")
            bad = await sender.send("lines", b"x" * 1_000)
            after = await sender.send("lines", b"small too")
            assert (await good).offset == 0
            with pytest.raises(RecordTooLargeError):
                await bad
            assert (await after).offset == 1
            with pytest.raises(RecordTooLargeError):
                await sender.flush()
            with pytest.raises(RecordTooLargeError, match=r"max\.request\.size"):
                await sender.send("lines", b"x" * 2_000_000)

    run(story)


def test_retries_are_counted() -> None:
    async def story() -> None:
        cluster = lines()
        async with producer(cluster, retries=2) as sender:
            cluster.partition("lines").fail_next.extend([(NotEnoughReplicasError, False)] * 3)
            with pytest.raises(NotEnoughReplicasError):
                await (await sender.send("lines", b"0"))
            cluster.partition("lines").fail_next.extend([(NotEnoughReplicasError, False)] * 2)
            assert (await (await sender.send("lines", b"1"))).offset == 0
            with pytest.raises(NotEnoughReplicasError):
                await sender.flush()

    run(story)


def test_memory_is_bounded_and_full_buffers_fail_clearly() -> None:
    async def story() -> None:
        cluster = lines()
        sender = producer(cluster, buffer_memory=10_000, batch_size=1_000, max_block_ms=500, linger_ms=0)
        await (await sender.send("lines", b"first"))
        cluster.silent |= {1, 2, 3}
        accepted = 0
        with pytest.raises(BufferExhaustedError, match=r"max\.block\.ms"):
            while True:
                await sender.send("lines", b"x" * 100)
                accepted += 1
        assert 60 < accepted < 100
        assert sender._producing is not None
        assert sender._producing.accumulator.used_bytes <= 10_000
        await sender.close(timeout=0)

    run(story)


def test_senders_that_wait_for_room_go_on_when_there_is_some() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.latency_s = lambda: 0.01
        async with producer(cluster, buffer_memory=2_000, batch_size=500, linger_ms=5_000) as sender:
            await asyncio.gather(*[send_numbers(sender, first, 50) for first in range(0, 500, 50)])
            await sender.flush()
            accumulator = sender._producing.accumulator if sender._producing else None
            assert accumulator is not None
            assert (accumulator.used_bytes, accumulator.hurry, accumulator.active) == (0, 0, {})
        assert sorted(cluster.values("lines")) == numbers(0, 500)

    run(story)


def test_a_sender_that_waits_for_room_goes_on_when_there_is_enough_for_it() -> None:
    """A partition without a leader may hold most of the buffer for long, and the others go on in what is left."""

    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 2)
        loop = asyncio.get_running_loop()
        async with producer(cluster, buffer_memory=10_000, batch_size=500, linger_ms=0) as sender:
            await (await sender.send("lines", b"first", partition=1))
            cluster.silent.add(cluster.partition("lines", 0).leader)
            for _ in range(14):
                await sender.send("lines", b"x" * 400, partition=0)
            began = loop.time()
            for _ in range(40):
                await sender.send("lines", b"y" * 400, partition=1)
            assert loop.time() - began < 1
            assert len(cluster.values("lines", 1)) > 30
            cluster.silent.clear()

    run(story)


@pytest.mark.parametrize("return_when", [asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION])
def test_asyncio_waits_for_deliveries_as_for_futures(return_when: str) -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.create("lines", 2)
        cluster.partition("lines", 1).fail_next.append((InvalidRecordError, False))
        sender = producer(cluster, request_timeout_ms=1_000)
        first: Any = await sender.send("lines", b"1", partition=0)
        assert await asyncio.wait([first], return_when=return_when) == ({first}, set())
        assert await asyncio.wait([first], return_when=return_when) == ({first}, set())
        cluster.silent.add(cluster.partition("lines", 0).leader)
        stuck: Any = await sender.send("lines", b"2", partition=0)
        refused: Any = await sender.send("lines", b"3", partition=1)
        timeout = 5 if return_when == asyncio.ALL_COMPLETED else None
        async with asyncio.timeout(10):
            done, pending = await asyncio.wait([stuck, refused], timeout=timeout, return_when=return_when)
        assert (done, pending) == ({refused}, {stuck})
        assert isinstance(refused.exception(), InvalidRecordError)
        cluster.silent.clear()
        told: list[object] = []
        stuck.add_done_callback(lambda metadata, error: told.append(metadata))
        stuck.add_done_callback(told.append)
        assert stuck.remove_done_callback(print) == 0
        assert (await asyncio.gather(stuck))[0].offset == 1
        assert told == [stuck.result(), stuck]
        await sender.close()

    run(story)


def test_a_close_meanwhile_wakes_senders_that_wait_for_room() -> None:
    async def story() -> None:
        cluster = lines()
        sender = producer(cluster, buffer_memory=1_000, batch_size=500, linger_ms=0)
        await (await sender.send("lines", b"first"))
        cluster.silent |= {1, 2, 3}
        task = asyncio.get_running_loop().create_task(send_numbers(sender, 0, 100))
        await asyncio.sleep(1)
        await sender.close(timeout=1)
        with pytest.raises(ClosedError):
            await task

    run(story)


@pytest.mark.parametrize("again", [None, 0, 1])
def test_a_close_that_was_cancelled_has_failed_what_is_left_and_can_be_repeated(again: float | None) -> None:
    async def story() -> None:
        cluster = lines()
        closed: list[bool] = []

        async def close_transport() -> None:
            closed.append(True)

        cluster.close = close_transport  # type: ignore[method-assign]
        sender = producer(cluster)
        await (await sender.send("lines", b"first"))
        sender._owns_transport = True
        cluster.silent |= {1, 2, 3}
        told: list[object] = []
        delivery = await sender.send("lines", b"x", on_delivery=lambda metadata, error: told.append(error))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await sender.close()
        assert isinstance(delivery.exception(), ClosedError)
        assert told == [delivery.exception()]
        await sender.close(again)
        assert closed and sender._producing is None
        await asyncio.sleep(0.1)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(story)


def test_a_second_close_waits_for_the_first_and_not_longer_than_it_is_told() -> None:
    async def story() -> None:
        cluster = lines()
        sender = producer(cluster, linger_ms=0)
        await (await sender.send("lines", b"first"))
        loop = asyncio.get_running_loop()
        cluster.latency_s = lambda: 5
        delivery = await sender.send("lines", b"x")
        first = loop.create_task(sender.close())
        await asyncio.sleep(0)
        began = loop.time()
        await sender.close(timeout=1)
        assert loop.time() - began == pytest.approx(1)
        with pytest.raises(ClosedError):
            await sender.send("lines", b"y")
        await sender.close()
        assert first.done() and delivery.result().offset == 1

    run(story)


def test_an_error_does_not_grow_with_each_raise() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.partition("lines").fail_next.append((InvalidRecordError, False))
        sender = producer(cluster)
        delivery = await sender.send("lines", b"1")
        lengths = []
        for _ in range(3):
            with pytest.raises(InvalidRecordError) as caught:
                await delivery
            lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
        assert lengths[0] == lengths[1] == lengths[2]
        await sender.close()

    run(story)


def test_an_unknown_topic_is_waited_for_and_then_named() -> None:
    async def story() -> None:
        cluster = lines()
        loop = asyncio.get_running_loop()
        async with producer(cluster) as sender:
            started = loop.time()
            with pytest.raises(UnknownTopicOrPartitionError, match="missing"):
                await sender.send("missing", b"x")
            assert loop.time() - started == pytest.approx(5, abs=1.1)
            loop.call_later(1, cluster.create, "late", 1)
            assert (await (await sender.send("late", b"x"))).offset == 0

    run(story)


def test_an_unknown_topic_is_created_where_the_cluster_allows() -> None:
    async def story() -> None:
        cluster = FakeCluster(3)
        cluster.auto_create_partitions = 4
        async with producer(cluster) as sender:
            await (await sender.send("new", b"x"))
            assert await sender.partitions_for("new") == 4

    run(story)


def test_a_cluster_that_does_not_answer_is_named() -> None:
    async def story() -> None:
        cluster = lines()
        cluster.down |= {1, 2, 3}
        async with producer(cluster, max_block_ms=2_000) as sender:
            with pytest.raises(NoBrokersAvailableError, match=r"10\.0\.0\.1:9093.*refuses"):
                await sender.send("lines", b"x")

    run(story)


def test_partitions_that_a_topic_gains_are_used() -> None:
    async def story() -> None:
        cluster = lines(1)
        async with producer(cluster, metadata_max_age_ms=10_000, partitioner="round_robin") as sender:
            await (await sender.send("lines", b"0"))
            cluster.create("lines", 3)
            assert (await (await sender.send("lines", b"explicit", partition=2))).partition == 2
            for _ in range(6):
                await sender.send("lines", b"x")
            await sender.flush()
        assert all(cluster.values("lines", partition) for partition in range(3))

    run(story)


def test_a_topic_that_was_deleted_and_made_anew_goes_on() -> None:
    async def story() -> None:
        cluster = lines(1)
        cluster.move_leader("lines", 0, 2)
        async with producer(cluster) as sender:
            await (await sender.send("lines", b"old"))
            del cluster.topics["lines"]
            delivery = await sender.send("lines", b"new")
            await asyncio.sleep(1)
            cluster.create("lines", 1)
            assert cluster.partition("lines").leader_epoch == 1  # lower than before: another topic
            assert (await delivery).offset == 0

    run(story)


def test_requests_carry_several_partitions_and_stay_within_their_size() -> None:
    async def story() -> None:
        cluster = FakeCluster(1)
        cluster.create("lines", 20)
        async with producer(cluster, linger_ms=50, max_request_size=5_000) as sender:
            for partition in range(20):
                for _ in range(5):
                    await sender.send("lines", b"x" * 200, partition=partition)
        sizes = [request.ByteSize() for request in cluster.produced]
        assert max(sizes) <= 5_000 + 500
        assert len(sizes) < 10
        assert all(
            len({part.partition for part in request.partitions}) == len(request.partitions)
            for request in cluster.produced
        )

    run(story)


def test_a_request_in_flight_at_a_time_per_broker_when_told() -> None:
    async def story() -> None:
        cluster = lines(1)
        cluster.latency_s = lambda: 0.01
        in_flight, most = 0, 0
        produce = cluster.produce

        def counted(node_id: int, request: client_pb2.ProduceRequest) -> client_pb2.ProduceResponse:
            nonlocal in_flight, most
            in_flight += 1
            most = max(most, in_flight)
            return produce(node_id, request)

        def told(*_: Any) -> None:
            nonlocal in_flight
            in_flight = 0

        cluster.produce = counted  # type: ignore[method-assign]
        async with producer(cluster, max_in_flight=1, batch_size=100, linger_ms=0, acks=1) as sender:
            for number in range(20):
                await sender.send("lines", b"%04d" % number, on_delivery=told)
        assert most == 1

    run(story)


def test_log_append_time_is_reported() -> None:
    async def story() -> None:
        cluster = lines(1)
        cluster.log_append_time_ms = 1_234
        async with producer(cluster) as sender:
            assert (await (await sender.send("lines", b"x"))).timestamp == 1_234

    run(story)
