"""DigestReplica: checksums of this node's replica of a partition, made by the maintenance process.

One at a time: whoever compares replicas asks every broker, and each reads at most `BYTES_MAX` for one answer.
"""

import asyncio

from broker.maintenance.failure import JobFailed
from broker.maintenance.jobs import Digester
from broker.rpc.ports import Replicas
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidRequestError, KafkaStorageError, KraftpyError
from kraftpy.pb.admin_pb2 import (
    DamagedOffsets,
    DigestReplicaRequest,
    DigestReplicaResponse,
    RangeDigest,
    RecordDigest,
)
from log_store.digest import Digested
from log_store.inspection import digest_job

BYTES_MAX = 64 * 1024 * 1024
IDLE_S = 10.0
"""Between two questions of one comparison; then the process ends."""


class Digests:
    """The handler."""

    def __init__(self, node_id: int, replicas: Replicas, digester: Digester | None) -> None:
        self._node_id = node_id
        self._replicas = replicas
        self._digester = digester
        self._turn = asyncio.Lock()
        self._resting: asyncio.TimerHandle | None = None
        self._rest_task: asyncio.Task[None] | None = None

    async def digest(self, request: DigestReplicaRequest) -> DigestReplicaResponse:
        """How far the replica goes, and its checksums in the offsets that are asked for, below its high watermark."""
        response = DigestReplicaResponse(broker_id=self._node_id, error=NO_ERROR)
        try:
            await self._answer(request, response)
        except KraftpyError as error:
            response.error, response.error_message = code_of(error), error.message
        except JobFailed as failure:
            response.error, response.error_message = code_of(KafkaStorageError), str(failure)
        return response

    async def _answer(self, request: DigestReplicaRequest, response: DigestReplicaResponse) -> None:
        partition = self._replicas.partition(request.topic, request.partition)
        log = partition.log
        response.log_start_offset, response.high_watermark = log.start_offset, partition.high_watermark
        response.may_have_gaps = log.may_have_gaps
        start_offset = max(request.start_offset, log.start_offset)
        end_offset = min(request.end_offset, partition.high_watermark)
        response.next_offset = request.start_offset
        if start_offset >= end_offset or self._digester is None:
            return
        if request.step < 1:
            raise InvalidRequestError(f"a step has at least one offset, not {request.step}")
        bytes_max = max(1, min(request.bytes_max, BYTES_MAX))
        job = digest_job(log, start_offset, end_offset, step=request.step, bytes_max=bytes_max, records=request.records)
        async with self._turn:
            self._keep_awake()
            try:
                digested = await self._digester.digest(job)
            finally:
                self._rest_later()
        _fill(response, digested)

    def _keep_awake(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None

    def _rest_later(self) -> None:
        self._resting = asyncio.get_running_loop().call_later(IDLE_S, self._rest)

    def _rest(self) -> None:
        assert self._digester is not None
        self._resting = None
        self._rest_task = asyncio.get_running_loop().create_task(self._end_idle())

    async def _end_idle(self) -> None:
        assert self._digester is not None
        async with self._turn:
            await self._digester.rest()


def _fill(response: DigestReplicaResponse, digested: Digested) -> None:
    response.next_offset = digested.next_offset
    response.ranges.extend(
        RangeDigest(start_offset=each.start_offset, batches=each.batches, checksum=each.checksum)
        for each in digested.ranges
    )
    response.records.extend(RecordDigest(offset=each.offset, checksum=each.checksum) for each in digested.records)
    response.damages.extend(
        DamagedOffsets(start_offset=each.start_offset, end_offset=each.end_offset, why=each.why)
        for each in digested.damages
    )
