"""Fetch over gRPC: a long-polled read, whose records are carried in the answer.

What a fetch finds and how long it waits is the replicas' affair (`broker.replication.reading`). The records lie in
files; unlike the framed listener, which sends ranges of files, a gRPC answer is one message in memory, so they are read
here: a piece at a time, on a disk thread where a piece is not in the page cache, and letting others run in between.

Invariants: an answer holds every partition that was asked for, once; no answer is larger than a gRPC message may be.
Where many answers are on their way, each holds less: what all of them occupy is bounded, and nobody waits for a reader
who does not take his.
"""

import asyncio
from collections.abc import Sequence

from broker.replication.fetch_types import (
    CONSUMER,
    NO_EPOCH,
    NO_OFFSET,
    CurrentLeader,
    FetchedPartition,
    FetchQuery,
    FetchTarget,
    IsolationLevel,
)
from broker.rpc.limits import WAIT_MAX_MS, Occupied, check_count
from broker.rpc.ports import Replicas
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidRequestError, KafkaStorageError, KraftpyError, RecordTooLargeError
from kraftpy.pb.client_pb2 import FetchedPartition as FetchedMessage
from kraftpy.pb.client_pb2 import FetchRequest, FetchResponse
from kraftpy.runtime.ports import Disk, FileSlice

BYTES_MAX = 55 << 20
"""Records of one answer (Kafka's fetch.max.bytes of a broker), but for a first batch that is larger."""
MESSAGE_BYTES_MAX = 64 << 20
"""Of a gRPC message (`kraftpy.runtime.grpc_transport`). A first batch that does not fit into one is refused; Kafka's
protocol can carry it."""
ANSWERS_BYTES_MAX = 128 << 20
"""Records of all answers that are being read or sent. Raising it lets more readers of old records have large answers at
once, and costs memory: up to three times as much, while messages are made."""
SMALL_ANSWER_BYTES = 64 << 10
"""What an answer may hold however many there are (and a first batch that is larger)."""
PARTITION_BYTES = 100
"""What a partition adds to an answer, at most, beyond its records and its topic's name."""
PIECE_BYTES = 512 << 10
"""Read at once. More holds the loop up for longer (512 KiB: about 0.1 ms), less costs more calls."""
TURN_BYTES = 1 << 20
"""Read before others are let in."""

NOBODY = CurrentLeader(-1, -1)


class Fetching:
    """The handler."""

    def __init__(self, replicas: Replicas, disk: Disk) -> None:
        self._replicas = replicas
        self._disk = disk
        self._answers = Occupied(ANSWERS_BYTES_MAX)

    async def fetch(self, request: FetchRequest) -> FetchResponse:
        check_count(len(request.partitions), "partitions")
        if request.isolation_level not in (IsolationLevel.READ_UNCOMMITTED, IsolationLevel.READ_COMMITTED):
            return FetchResponse(partitions=[_refused(target, InvalidRequestError) for target in _targets(request)])
        room = MESSAGE_BYTES_MAX - request.ByteSize() - PARTITION_BYTES * len(request.partitions)
        limit = min(BYTES_MAX, room)
        query = _query(request, min(limit, self._share))
        answer = await self._replicas.fetch(query)
        if answer.size_bytes > self._share:  # others found theirs meanwhile
            query = _query(request, min(limit, self._share))._replace(max_wait_ms=0)
            answer = await self._replicas.fetch(query)
        self._answers.take_for_this_call(answer.size_bytes)
        if answer.error is not None:
            return FetchResponse(partitions=[_refused(target, answer.error) for target in query.partitions])
        reader = _Reader(self._disk)
        return FetchResponse(partitions=[await self._message(reader, found, room) for found in answer.partitions])

    @property
    def _share(self) -> int:
        """What an answer may hold now."""
        return max(SMALL_ANSWER_BYTES, self._answers.room)

    async def _message(self, reader: "_Reader", found: FetchedPartition, room: int) -> FetchedMessage:
        if found.error is not None:
            return _refused(found.target, found.error, found)
        if found.size_bytes > room:
            return _refused(found.target, RecordTooLargeError, found)
        try:
            records = await reader.read(found.slices)
        except OSError:
            return _refused(found.target, KafkaStorageError, found)
        message = _base(found.target, found)
        message.records = records
        for aborted in found.aborted:
            message.aborted.add(producer_id=aborted.producer_id, first_offset=aborted.first_offset)
        if found.diverging is not None:
            message.diverging_epoch = found.diverging.epoch
            message.diverging_end_offset = found.diverging.end_offset
        return message


class _Reader:
    """Reads the slices of one answer."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._turn_bytes = 0

    async def read(self, slices: Sequence[FileSlice]) -> bytes:
        """Raises `OSError`."""
        pieces = []
        for part in slices:
            end = part.position + part.length
            for position in range(part.position, end, PIECE_BYTES):
                pieces.append(await self._piece(FileSlice(part.file, position, min(PIECE_BYTES, end - position))))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _piece(self, piece: FileSlice) -> bytes:
        if not piece.file.is_cached(piece.length, piece.position):
            return await self._disk.run(lambda: _read(piece))
        if self._turn_bytes >= TURN_BYTES:
            self._turn_bytes = 0
            await asyncio.sleep(0)
        self._turn_bytes += piece.length
        return _read(piece)


def _read(piece: FileSlice) -> bytes:
    data = piece.file.read(piece.length, piece.position)
    if len(data) != piece.length:
        raise OSError(f"{piece.file.path} ends inside a range that is being read")
    return data


def _query(request: FetchRequest, limit: int) -> FetchQuery:
    bytes_max = min(max(request.max_bytes, 0), limit)
    return FetchQuery(
        replica_id=CONSUMER,
        replica_epoch=NO_EPOCH,
        max_wait_ms=min(max(request.max_wait_ms, 0), WAIT_MAX_MS),
        min_bytes=min(max(request.min_bytes, 0), bytes_max),
        max_bytes=bytes_max,
        isolation_level=IsolationLevel(request.isolation_level),
        partitions=_targets(request),
        client_id=request.client_id,
    )


def _targets(request: FetchRequest) -> list[FetchTarget]:
    """Each partition once; of one that is named twice the last counts, as in a Kafka request."""
    targets = {
        (part.topic, part.partition): FetchTarget(
            topic_id=None,
            topic=part.topic,
            partition=part.partition,
            current_leader_epoch=part.current_leader_epoch,
            offset=part.offset,
            last_fetched_epoch=part.last_fetched_epoch,
            log_start_offset=NO_OFFSET,
            max_bytes=max(part.max_bytes, 0),
        )
        for part in request.partitions
    }
    return list(targets.values())


def _refused(target: FetchTarget, error: type[KraftpyError], found: FetchedPartition | None = None) -> FetchedMessage:
    message = _base(target, found)
    message.error = code_of(error)
    return message


def _base(target: FetchTarget, found: FetchedPartition | None) -> FetchedMessage:
    leader = (found.leader if found else None) or NOBODY
    return FetchedMessage(
        topic=target.topic,
        partition=target.partition,
        error=NO_ERROR,
        high_watermark=found.high_watermark if found else NO_OFFSET,
        last_stable_offset=found.last_stable_offset if found else NO_OFFSET,
        log_start_offset=found.log_start_offset if found else NO_OFFSET,
        leader=leader.id,
        leader_epoch=leader.epoch,
    )
