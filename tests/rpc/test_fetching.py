"""Fetch and ListOffsets: what is found and carried, what waits, what is refused, and cold records."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import pytest

from broker.replication.fetch_types import (
    CurrentLeader,
    Diverging,
    FetchAnswer,
    FetchedPartition,
    FetchQuery,
    FetchTarget,
)
from broker.rpc import fetching
from broker.rpc.fetching import BYTES_MAX, PIECE_BYTES, Fetching
from broker.rpc.limits import WAIT_MAX_MS
from kraftpy.error_codes import code_of
from kraftpy.errors import (
    FencedLeaderEpochError,
    FetchSessionIdNotFoundError,
    InvalidRequestError,
    KafkaStorageError,
    KraftpyError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    RecordTooLargeError,
    UnknownLeaderEpochError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import client_pb2 as pb
from kraftpy.record import Record, decode_batches, encode_batch
from kraftpy.runtime.ports import Disk, File, FileSlice
from tests.client.support import run
from tests.replication.cluster import TOPIC
from tests.rpc.cluster import Bed, play

T = TypeVar("T")


def partition(offset: int, index: int = 0, **fields: Any) -> pb.FetchPartition:
    given = {"topic": TOPIC, "max_bytes": 1 << 20, "current_leader_epoch": -1, "last_fetched_epoch": -1, **fields}
    return pb.FetchPartition(partition=index, offset=offset, **given)


def request(*parts: pb.FetchPartition, **fields: Any) -> pb.FetchRequest:
    given = {"max_wait_ms": 500, "min_bytes": 1, "max_bytes": 1 << 20, **fields}
    return pb.FetchRequest(partitions=parts, **given)


async def fetch(bed: Bed, *parts: pb.FetchPartition, node_id: int = 1, **fields: Any) -> list[pb.FetchedPartition]:
    answer = await bed.call(node_id, "Client/Fetch", request(*parts, **fields), pb.FetchResponse, 20_000)
    return list(answer.partitions)


def values(part: pb.FetchedPartition) -> list[bytes | None]:
    return [record.value for record in decode_batches(memoryview(part.records))]


# --- with real replicas ----------------------------------------------------------------------------------------------


def test_records_come_with_the_marks_of_their_log() -> None:
    async def story(bed: Bed) -> None:
        for _ in range(3):
            await bed.cluster.produce(1)
        (found,) = await fetch(bed, partition(1))
        assert values(found) == [b"2", b"3"]
        assert (found.error, found.high_watermark, found.last_stable_offset, found.log_start_offset) == (0, 3, 3, 0)
        assert (found.leader, found.leader_epoch) == (-1, -1) and not found.HasField("diverging_end_offset")

    play(story)


def test_a_fetch_waits_for_records_and_not_forever() -> None:
    async def story(bed: Bed) -> None:
        loop = bed.world.loop
        began_us = loop.now_us
        (nothing,) = await fetch(bed, partition(0), max_wait_ms=700)
        assert nothing.records == b"" and 700_000 <= loop.now_us - began_us < 800_000

        waiting = loop.create_task(fetch(bed, partition(0), max_wait_ms=10_000))
        await asyncio.sleep(0.3)
        began_us = loop.now_us
        await bed.cluster.produce(1)
        (found,) = await waiting
        assert values(found) == [b"1"] and loop.now_us - began_us < 200_000

        began_us = loop.now_us
        await fetch(bed, partition(1), max_wait_ms=-1)
        await fetch(bed, partition(1), min_bytes=-5)
        await fetch(bed)
        assert loop.now_us - began_us < 200_000

    play(story)


def test_limits_hold_after_the_first_batch() -> None:
    async def story(bed: Bed) -> None:
        size = len(bed.cluster.batch())
        for _ in range(4):
            await bed.cluster.produce(1)
        assert len(values((await fetch(bed, partition(0), max_bytes=1))[0])) == 1
        assert len(values((await fetch(bed, partition(0, max_bytes=1)))[0])) == 1
        assert len(values((await fetch(bed, partition(0), max_bytes=3 * size))[0])) == 3
        assert len(values((await fetch(bed, partition(0, max_bytes=-1), max_bytes=-1, max_wait_ms=0))[0])) <= 1
        assert len(values((await fetch(bed, partition(0), max_bytes=2**31 - 1))[0])) == 4

    play(story)


def test_what_cannot_be_read_is_refused_partition_by_partition() -> None:
    async def story(bed: Bed) -> None:
        await bed.cluster.produce(1)
        good, beyond, below, missing, negative, nowhere = await fetch(
            bed,
            partition(0),
            partition(0, index=1),
            partition(-3, index=2),
            partition(0, index=9),
            partition(0, index=-1),
            partition(0, topic="nothing"),
        )
        assert good.error == 0 and values(good) == [b"1"]
        assert [each.error for each in (beyond, below, missing, negative, nowhere)] == [
            code_of(UnknownTopicOrPartitionError)
        ] * 5
        assert (nowhere.high_watermark, nowhere.leader, nowhere.leader_epoch) == (-1, -1, -1)

        (outside,) = await fetch(bed, partition(7))
        assert outside.error == code_of(OffsetOutOfRangeError)
        assert (outside.log_start_offset, outside.high_watermark) == (0, 1), "it is told where the log begins and ends"
        (outside,) = await fetch(bed, partition(-1))
        assert outside.error == code_of(OffsetOutOfRangeError)
        (follower,) = await fetch(bed, partition(0), node_id=2)
        assert (follower.error, follower.leader, follower.leader_epoch) == (code_of(NotLeaderOrFollowerError), 1, 0)
        (unknown,) = await fetch(bed, partition(0, current_leader_epoch=8))
        assert unknown.error == code_of(UnknownLeaderEpochError)
        (level,) = await fetch(bed, partition(0), isolation_level=7)
        assert level.error == code_of(InvalidRequestError)
        assert len(await fetch(bed, partition(0), partition(0))) == 1

        bed.cluster.controller.change(leader=1)
        await bed.settled()
        (fenced,) = await fetch(bed, partition(0, current_leader_epoch=0))
        assert (fenced.error, fenced.leader, fenced.leader_epoch) == (code_of(FencedLeaderEpochError), 1, 1)

    play(story)


def test_a_reader_of_a_log_that_was_cut_is_told_where() -> None:
    """KIP-320: it has read up to offset 9 in epoch 0, which ended at 2."""

    async def story(bed: Bed) -> None:
        await bed.cluster.produce(1, count=2)
        bed.cluster.controller.change(leader=1)
        await bed.settled()
        await bed.cluster.produce(1)
        (cut,) = await fetch(bed, partition(9, last_fetched_epoch=0))
        assert (cut.error, cut.diverging_epoch, cut.diverging_end_offset, cut.records) == (0, 0, 2, b"")
        (whole,) = await fetch(bed, partition(2, last_fetched_epoch=0))
        assert not whole.HasField("diverging_end_offset") and values(whole) == [b"3"]

    play(story)


def test_offsets_are_listed() -> None:
    async def story(bed: Bed) -> None:
        leader = bed.cluster.brokers[1].replicas
        for at, timestamp_ms in enumerate((1_000, 3_000, 2_000)):
            batch = encode_batch([Record(0, timestamp_ms, None, b"%d" % at, ())])
            await bed.cluster.in_lane(1, leader.produce([(TOPIC, 0, batch)], -1, 5_000))

        async def find(*wanted: tuple[int, int], epoch: int = -1, node_id: int = 1, level: int = 0) -> list[Any]:
            asked = pb.ListOffsetsRequest(isolation_level=level)
            for index, timestamp_ms in wanted:
                asked.partitions.add(
                    topic=TOPIC, partition=index, timestamp_ms=timestamp_ms, current_leader_epoch=epoch
                )
            answer = await bed.call(node_id, "Client/ListOffsets", asked, pb.ListOffsetsResponse)
            return [(each.error, each.offset, each.timestamp_ms, each.leader_epoch) for each in answer.partitions]

        assert await find((0, -1), (0, -2), (0, -3), (0, 1_500), (0, 9_000), (0, 0)) == [
            (0, 3, -1, 0),
            (0, 0, -1, 0),
            (0, 1, 3_000, 0),
            (0, 1, 3_000, 0),
            (0, -1, -1, -1),
            (0, 0, 1_000, 0),
        ]
        nonsense, missing, good = await find((0, -4), (7, -1), (0, -1))
        assert nonsense[:2] == (code_of(InvalidRequestError), -1)
        assert missing[0] == code_of(UnknownTopicOrPartitionError) and good[1] == 3
        assert (await find((0, -1), epoch=5))[0][0] == code_of(UnknownLeaderEpochError)
        assert (await find((0, -1), node_id=2))[0][0] == code_of(NotLeaderOrFollowerError)
        assert (await find((0, -1), level=5))[0][0] == code_of(InvalidRequestError)
        assert (await find((0, -1), level=1))[0][1] == 3
        assert await find() == []

    play(story)


# --- with replicas that answer what they are told to -----------------------------------------------------------------


class Shelf:
    """A file whose cold ranges only a disk thread may read."""

    path = "/shelf"

    def __init__(self, data: bytes, cold: bool = False) -> None:
        self.data = data
        self.cold = cold
        self.on_disk_thread = False
        self.reads: list[tuple[int, bool]] = []
        self.broken = False

    def is_cached(self, length: int, position: int) -> bool:
        return not self.cold

    def read(self, length: int, position: int) -> bytes:
        assert self.on_disk_thread or not self.cold, "a cold read would hold the loop up"
        assert length <= PIECE_BYTES
        self.reads.append((length, self.on_disk_thread))
        if self.broken:
            raise OSError("the medium")
        return self.data[position : position + length]

    async def run(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(0.001)
        self.on_disk_thread = True
        try:
            return work()
        finally:
            self.on_disk_thread = False

    def slice(self, position: int, length: int) -> FileSlice:
        return FileSlice(cast(File, self), position, length)


class TellingReplicas:
    def __init__(self, answers: Callable[[FetchTarget], FetchedPartition]) -> None:
        self.answers = answers
        self.queries: list[FetchQuery] = []
        self.error: type[KraftpyError] | None = None

    async def fetch(self, query: FetchQuery) -> FetchAnswer:
        self.queries.append(query)
        return FetchAnswer([] if self.error else [self.answers(each) for each in query.partitions], error=self.error)


def ask(replicas: TellingReplicas, shelf: Shelf, asked: pb.FetchRequest) -> list[pb.FetchedPartition]:
    handler = Fetching(replicas, cast(Disk, shelf))  # type: ignore[arg-type]
    return list(run(lambda: handler.fetch(asked)).partitions)


def found(target: FetchTarget, slices: Sequence[FileSlice] = (), **fields: Any) -> FetchedPartition:
    size = sum(each.length for each in slices)
    return FetchedPartition(target, fields.pop("error", None), 9, 8, 1, list(slices), size_bytes=size, **fields)


def serving(*slices: FileSlice) -> TellingReplicas:
    return TellingReplicas(lambda target: found(target, slices))


def test_cold_records_are_read_on_a_disk_thread_in_pieces() -> None:
    data = bytes(index % 251 for index in range(3 * PIECE_BYTES))
    for cold in (False, True):
        shelf = Shelf(data, cold)
        replicas = serving(shelf.slice(5, PIECE_BYTES + 7), shelf.slice(2 * PIECE_BYTES, 11))
        (part,) = ask(replicas, shelf, request(partition(0)))
        assert part.records == data[5 : 12 + PIECE_BYTES] + data[2 * PIECE_BYTES : 2 * PIECE_BYTES + 11]
        assert shelf.reads == [(PIECE_BYTES, cold), (7, cold), (11, cold)]


def test_a_disk_that_fails_or_a_file_that_ends_too_early_is_a_storage_error() -> None:
    for shelf in (Shelf(bytes(10)), Shelf(bytes(100))):
        shelf.broken = len(shelf.data) == 100
        (part,) = ask(serving(shelf.slice(0, 20)), shelf, request(partition(0)))
        assert (part.error, part.records, part.high_watermark) == (code_of(KafkaStorageError), b"", 9)


def test_many_answers_share_what_they_may_occupy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty readers of old records at once, who take their answers slowly."""
    monkeypatch.setattr(fetching, "ANSWERS_BYTES_MAX", 4 << 20)
    shelf = Shelf(bytes(64 << 20))

    class Plenty(TellingReplicas):
        async def fetch(self, query: FetchQuery) -> FetchAnswer:
            await asyncio.sleep(0.01)  # from disk
            self.answers = lambda target: found(target, [shelf.slice(0, query.max_bytes)])
            return await super().fetch(query)

    async def story() -> None:
        replicas = Plenty(found)
        handler = Fetching(replicas, cast(Disk, shelf))  # type: ignore[arg-type]
        taken = asyncio.Event()

        async def call() -> int:
            answer = await handler.fetch(request(partition(0), max_bytes=1 << 20))
            await taken.wait()
            return len(answer.partitions[0].records)

        calls = [asyncio.create_task(call()) for _ in range(40)]
        await asyncio.sleep(1)
        assert not any(each.done() for each in calls)  # and all of them are answered
        taken.set()
        sizes = sorted(await asyncio.gather(*calls))
        assert sizes == [fetching.SMALL_ANSWER_BYTES] * 36 + [1 << 20] * 4
        assert await call() == 1 << 20

    run(story)


def test_what_fits_into_no_message_is_refused() -> None:
    shelf = Shelf(b"")
    (part,) = ask(serving(shelf.slice(0, 64 << 20)), shelf, request(partition(0)))
    assert part.error == code_of(RecordTooLargeError) and not shelf.reads


def test_hints_divergence_and_errors_are_carried() -> None:
    answers = {
        0: lambda target: found(target, error=NotLeaderOrFollowerError, leader=CurrentLeader(4, 6)),
        1: lambda target: found(target, diverging=Diverging(2, 77)),
    }
    moved, cut = ask(
        TellingReplicas(lambda target: answers[target.partition](target)),
        Shelf(b""),
        request(partition(0), partition(0, index=1)),
    )
    assert (moved.error, moved.leader, moved.leader_epoch) == (code_of(NotLeaderOrFollowerError), 4, 6)
    assert (cut.diverging_epoch, cut.diverging_end_offset) == (2, 77)

    replicas = TellingReplicas(found)
    replicas.error = FetchSessionIdNotFoundError
    parts = ask(replicas, Shelf(b""), request(partition(0), partition(0, index=1)))
    assert [each.error for each in parts] == [code_of(FetchSessionIdNotFoundError)] * 2


def test_sizes_and_times_are_clamped() -> None:
    replicas = TellingReplicas(found)
    largest = 2**31 - 1
    for asked in (
        request(partition(0, max_bytes=-1), max_wait_ms=-1, min_bytes=-1, max_bytes=-1),
        request(partition(0), max_wait_ms=largest, min_bytes=largest, max_bytes=largest),
    ):
        ask(replicas, Shelf(b""), asked)
    low, high = replicas.queries
    assert (low.max_wait_ms, low.min_bytes, low.max_bytes, low.partitions[0].max_bytes) == (0, 0, 0, 0)
    assert (high.max_wait_ms, high.min_bytes, high.max_bytes) == (WAIT_MAX_MS, BYTES_MAX, BYTES_MAX)
    assert (low.replica_id, low.session_id, low.partitions[0].log_start_offset) == (-1, 0, -1)
    names = [partition(0, index=index, topic="t" * 249) for index in range(20_000)]
    ask(replicas, Shelf(b""), request(*names, max_bytes=largest))
    assert 40 << 20 < replicas.queries[-1].max_bytes < fetching.MESSAGE_BYTES_MAX - 20_000 * 349
