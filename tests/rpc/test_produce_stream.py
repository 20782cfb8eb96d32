"""The Produce stream: order, answers that overtake, bounds, and every way in which it ends."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

import pytest

from broker.replication.fetch_types import CurrentLeader
from broker.replication.producing import Batch, Produced
from broker.replication.verification import Transaction
from broker.rpc import produce_stream
from broker.rpc.limits import Occupied
from broker.rpc.produce_stream import PENDING_MAX, ProduceStream
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    CorruptRecordError,
    InvalidRequiredAcksError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceError,
    RequestTimedOutError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb.client_pb2 import ProducedPartition, ProducePartition, ProduceRequest, ProduceResponse
from kraftpy.runtime.grpc_transport import GrpcTransport
from kraftpy.runtime.ports import Address, BadRequest, Methods, RemoteFailure, Stream, Unreachable
from tests.client.support import run
from tests.replication.cluster import CALLS_PORT, TOPIC
from tests.rpc.cluster import Bed, play

PRODUCE = "/kraftpy.pb.Client/Produce"


def request(number: int, *parts: tuple[str, int, bytes], acks: int = -1, timeout_ms: int = 5_000) -> bytes:
    partitions = [ProducePartition(topic=topic, partition=index, records=records) for topic, index, records in parts]
    message = ProduceRequest(correlation_id=number, acks=acks, timeout_ms=timeout_ms, partitions=partitions)
    return message.SerializeToString()


async def open_stream(bed: Bed, node_id: int) -> Stream:
    return await bed.ports.transport.open_stream(Address(f"n{node_id}", CALLS_PORT), PRODUCE)


async def answer(stream: Stream) -> ProduceResponse:
    data = await stream.receive()
    assert data is not None
    return ProduceResponse.FromString(data)


async def outcome(bed: Bed, stream: Stream, *parts: tuple[str, int, bytes], acks: int = -1) -> list[ProducedPartition]:
    await stream.send(request(1, *parts, acks=acks, timeout_ms=300))
    return list((await answer(stream)).partitions)


# --- with real replicas ----------------------------------------------------------------------------------------------


def test_requests_are_appended_in_the_order_of_the_stream() -> None:
    """Sequence numbers would refuse any other order."""

    async def story(bed: Bed) -> None:
        stream = await open_stream(bed, 1)
        for number in range(50):
            records = bytes(bed.cluster.batch(2, producer_id=9, sequence=2 * number))
            await stream.send(request(number, (TOPIC, 0, records)))
        offsets = {}
        for _ in range(50):
            answered = await answer(stream)
            assert answered.partitions[0].error == 0, answered
            offsets[answered.correlation_id] = answered.partitions[0].base_offset
        assert offsets == {number: 2 * number for number in range(50)}

    for seed in range(1, 6):  # the loop takes ready callbacks in another order with each
        play(story, seed)


def test_each_partition_has_its_own_answer() -> None:
    async def story(bed: Bed) -> None:
        stream, batch = await open_stream(bed, 1), bytes(bed.cluster.batch())
        torn = bytearray(batch)
        torn[-1] ^= 1
        good, corrupt, empty, missing, negative, nowhere = await outcome(
            bed,
            stream,
            (TOPIC, 0, batch),
            (TOPIC, 0, bytes(torn)),
            (TOPIC, 0, b""),
            (TOPIC, 7, batch),
            (TOPIC, -1, batch),
            ("nothing", 0, batch),
        )
        assert (good.error, good.error_message, good.base_offset, good.log_append_time_ms) == (0, "", 0, -1)
        assert corrupt.error == code_of(CorruptRecordError) and corrupt.error_message
        assert empty.error != 0
        assert [missing.error, negative.error, nowhere.error] == [code_of(UnknownTopicOrPartitionError)] * 3
        assert (corrupt.base_offset, corrupt.leader, corrupt.leader_epoch) == (-1, -1, -1)

        (gap,) = await outcome(bed, stream, (TOPIC, 0, bytes(bed.cluster.batch(1, producer_id=5, sequence=0))))
        assert gap.error == 0
        (gap,) = await outcome(bed, stream, (TOPIC, 0, bytes(bed.cluster.batch(1, producer_id=5, sequence=7))))
        assert gap.error == code_of(OutOfOrderSequenceError)
        (odd,) = await outcome(bed, stream, (TOPIC, 0, batch), acks=2)
        assert odd.error == code_of(InvalidRequiredAcksError) and "0, 1 or -1" in odd.error_message
        await stream.send(request(99))
        assert (await answer(stream)).correlation_id == 99

    play(story)


def test_a_broker_that_does_not_lead_names_who_does() -> None:
    async def story(bed: Bed) -> None:
        stream, batch = await open_stream(bed, 2), bytes(bed.cluster.batch())
        (refused,) = await outcome(bed, stream, (TOPIC, 0, batch))
        assert refused.error == code_of(NotLeaderOrFollowerError)
        assert (refused.leader, refused.leader_epoch) == (1, 0)
        bed.cluster.controller.change(leader=-1)
        await bed.settled()
        (refused,) = await outcome(bed, stream, (TOPIC, 0, batch))
        assert (refused.leader, refused.leader_epoch) == (-1, 1)

    play(story)


def test_acks_that_cannot_be_had_are_answered_in_time() -> None:
    async def story(bed: Bed) -> None:
        stream = await open_stream(bed, 1)
        for node_id in (2, 3):
            bed.cluster.crash(node_id)
        (late,) = await outcome(bed, stream, (TOPIC, 0, bytes(bed.cluster.batch())))
        assert late.error == code_of(RequestTimedOutError)
        (alone,) = await outcome(bed, stream, (TOPIC, 0, bytes(bed.cluster.batch())), acks=1)
        assert alone.error == 0
        bed.cluster.controller.change(isr=(1,))
        await bed.settled()
        (too_few,) = await outcome(bed, stream, (TOPIC, 0, bytes(bed.cluster.batch())))
        assert too_few.error == code_of(NotEnoughReplicasError)
        await stream.send(request(2, (TOPIC, 0, bytes(bed.cluster.batch())), acks=1, timeout_ms=-5))
        assert (await answer(stream)).correlation_id == 2

    play(story)


def test_without_acks_nothing_is_answered_but_a_failure_ends_the_stream() -> None:
    async def story(bed: Bed) -> None:
        stream = await open_stream(bed, 1)
        await stream.send(request(1, (TOPIC, 0, bytes(bed.cluster.batch())), acks=0))
        await stream.send(request(2, (TOPIC, 0, bytes(bed.cluster.batch())), acks=1))
        assert (await answer(stream)).correlation_id == 2
        assert len(bed.cluster.log(1)) == 2
        await stream.send(request(3, (TOPIC, 9, bytes(bed.cluster.batch())), acks=0))
        assert await stream.receive() is None

    play(story)


def test_garbage_ends_the_stream_and_says_why() -> None:
    async def story(bed: Bed) -> None:
        stream = await open_stream(bed, 1)
        await stream.send(b"\xff\xff")
        with pytest.raises(RemoteFailure, match="no ProduceRequest"):
            await stream.receive()

    play(story)


# --- with replicas that do as they are told --------------------------------------------------------------------------


class HeldReplicas:
    """Appends at once; acknowledges when told to."""

    def __init__(self) -> None:
        self.appended: list[bytes] = []
        self.held: dict[bytes, asyncio.Future[Produced]] = {}
        self.arrivals: asyncio.Queue[bytes] = asyncio.Queue()

    async def produce(
        self, batches: Sequence[Batch], acks: int, timeout_ms: int, transaction: Transaction | None = None
    ) -> list[Produced]:
        answers = []
        for _, _, records in batches:
            assert isinstance(records, bytearray)
            self.appended.append(bytes(records))
            held = self.held[bytes(records)] = asyncio.get_running_loop().create_future()
            self.arrivals.put_nowait(bytes(records))
            answers.append(held)
        return [await held for held in answers]

    def acknowledge(self, records: bytes, produced: Produced | None = None) -> None:
        self.held.pop(records).set_result(produced or Produced(TOPIC, 0, base_offset=len(self.held)))


class Pipe:
    """A stream's two directions, without a transport."""

    def __init__(self, replicas: HeldReplicas, all_pending: Occupied | None = None) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: list[ProduceResponse] = []
        self.taken = 0
        self.sending = 0
        all_pending = all_pending or Occupied(1 << 30)
        stream = ProduceStream(replicas, self._requests(), self._send, all_pending)  # type: ignore[arg-type]
        self.serving = asyncio.get_running_loop().create_task(stream.serve())

    async def _requests(self) -> AsyncIterator[bytes]:
        while (data := await self.incoming.get()) is not None:
            self.taken += 1
            yield data

    async def _send(self, data: bytes) -> None:
        assert self.sending == 0, "a stream sends one message at a time"
        self.sending += 1
        await asyncio.sleep(0.001)
        self.sending -= 1
        self.answers.append(ProduceResponse.FromString(data))


async def settle() -> None:
    await asyncio.sleep(0.1)


def named(number: int) -> bytes:
    return b"%03d" % number


def test_answers_overtake_and_the_end_waits_for_all() -> None:
    async def story() -> None:
        replicas = HeldReplicas()
        pipe = Pipe(replicas)
        for number in range(3):
            pipe.incoming.put_nowait(request(number, (TOPIC, 0, named(number))))
        pipe.incoming.put_nowait(None)
        await settle()
        assert replicas.appended == [named(0), named(1), named(2)]
        for number in (2, 0):
            replicas.acknowledge(named(number))
        await settle()
        assert sorted(each.correlation_id for each in pipe.answers) == [0, 2] and not pipe.serving.done()
        hint = Produced(TOPIC, 0, NotLeaderOrFollowerError("moved"), leader=CurrentLeader(3, 8))
        replicas.acknowledge(named(1), hint)
        await pipe.serving
        last = pipe.answers[-1].partitions[0]
        assert (last.error_message, last.leader, last.leader_epoch) == ("moved", 3, 8)

    run(story)


def test_what_waits_is_bounded_by_number() -> None:
    async def story() -> None:
        replicas = HeldReplicas()
        pipe = Pipe(replicas)
        for number in range(PENDING_MAX + 10):
            pipe.incoming.put_nowait(request(number, (TOPIC, 0, named(number))))
        await settle()
        assert len(replicas.appended) == PENDING_MAX and pipe.taken == PENDING_MAX + 1
        replicas.acknowledge(named(5))
        await settle()
        assert len(replicas.appended) == PENDING_MAX + 1
        for number in range(PENDING_MAX + 10):
            if number != 5:
                await asyncio.sleep(0.01)
                replicas.acknowledge(named(number))
        await settle()
        assert len(pipe.answers) == PENDING_MAX + 10
        pipe.incoming.put_nowait(None)
        await pipe.serving

    run(story)


def test_what_waits_is_bounded_by_bytes_and_a_large_one_passes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produce_stream, "PENDING_BYTES_MAX", 1_000)

    async def story() -> None:
        replicas = HeldReplicas()
        pipe = Pipe(replicas)
        large, small = bytes(5_000), bytes(10)
        for records in (large, small):
            pipe.incoming.put_nowait(request(1, (TOPIC, 0, records)))
        await settle()
        assert replicas.appended == [large]
        replicas.acknowledge(large)
        await settle()
        assert replicas.appended == [large, small]
        pipe.serving.cancel()

    run(story)


def test_what_waits_of_all_streams_is_bounded_and_each_may_have_one_request() -> None:
    async def story() -> None:
        replicas, all_pending = HeldReplicas(), Occupied(1_000)
        pipes = [Pipe(replicas, all_pending) for _ in range(3)]
        for number, pipe in enumerate(pipes):
            for half in range(2):
                pipe.incoming.put_nowait(request(half, (TOPIC, 0, named(10 * number + half) + bytes(900))))
            await settle()
        assert [each[:3] for each in replicas.appended] == [named(0), named(10), named(20)]
        assert 2_700 < all_pending.bytes < 3_000
        pipes[0].serving.cancel()  # what it held is there for others
        pipes[1].serving.cancel()
        await settle()
        assert 900 < all_pending.bytes < 1_000
        replicas.acknowledge(replicas.appended[2])
        await settle()
        assert replicas.appended[3][:3] == named(21)
        pipes[2].incoming.put_nowait(request(2, (TOPIC, 0, named(22))))
        await asyncio.sleep(0)
        pipes[2].serving.cancel()  # on the way
        await settle()
        assert all_pending.bytes == 0

    for seed in range(1, 20):  # the loop takes ready callbacks in another order with each
        run(story, seed=seed)


def test_a_bug_ends_the_stream_at_once_and_is_raised() -> None:
    async def story() -> None:
        replicas = HeldReplicas()
        pipe = Pipe(replicas)
        for number in (1, 2):
            pipe.incoming.put_nowait(request(number, (TOPIC, 0, named(number))))
        await settle()
        replicas.held[named(1)].set_exception(ZeroDivisionError("a bug"))
        with pytest.raises(ZeroDivisionError):
            await pipe.serving
        assert replicas.held[named(2)].cancelled()

    run(story)


def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    async def story() -> None:
        replicas = HeldReplicas()
        pipe = Pipe(replicas)
        pipe.incoming.put_nowait(request(1, (TOPIC, 0, named(1))))
        await settle()
        pipe.serving.cancel()
        await asyncio.gather(pipe.serving, return_exceptions=True)
        assert replicas.held[named(1)].cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(story)


def test_too_many_partitions_are_the_callers_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.rpc.limits.ITEMS_MAX", 2)

    async def story() -> None:
        pipe = Pipe(HeldReplicas())
        pipe.incoming.put_nowait(request(1, *[(TOPIC, 0, b"")] * 3))
        with pytest.raises(BadRequest, match="3 partitions"):
            await pipe.serving

    run(story)


# --- over gRPC -------------------------------------------------------------------------------------------------------


def test_over_grpc_it_answers_ends_and_survives_rude_clients(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        replicas = HeldReplicas()
        ended = asyncio.Event()

        async def produce(requests: AsyncIterator[bytes], send: produce_stream.Send) -> None:
            try:
                await ProduceStream(replicas, requests, send, Occupied(1 << 30)).serve()  # type: ignore[arg-type]
            finally:
                ended.set()

        transport = GrpcTransport()
        server = await transport.serve(Address("127.0.0.1", 0), Methods({}, {PRODUCE: produce}))
        try:
            stream = await transport.open_stream(server.address, PRODUCE)
            for number in range(20):
                await stream.send(request(number, (TOPIC, 0, named(number))))
            assert [await replicas.arrivals.get() for _ in range(20)] == [named(number) for number in range(20)]
            for number in reversed(range(20)):
                replicas.acknowledge(named(number))
            answered = [(await answer(stream)).correlation_id for _ in range(20)]
            assert sorted(answered) == list(range(20))

            await stream.send(request(77, (TOPIC, 0, named(77))))
            await replicas.arrivals.get()
            stream.close()  # in the middle
            await asyncio.wait_for(ended.wait(), 10)
            assert replicas.held[named(77)].cancelled()

            stream = await transport.open_stream(server.address, PRODUCE)
            await stream.send(request(78, (TOPIC, 0, named(78)), acks=0))
            await replicas.arrivals.get()
            replicas.acknowledge(named(78), Produced(TOPIC, 0, NotLeaderOrFollowerError()))
            assert await stream.receive() is None
            with pytest.raises(Unreachable):
                while True:
                    await stream.send(request(79))
        finally:
            await transport.close()
            await server.stop()

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    assert not caplog.records
