"""Comparing all replicas of a topic, each broker asked for checksums of its own: the way there and back.

Each question makes a broker read at most `BYTES_PER_CALL`, so that none takes long and progress can be told. What to
make of the answers is decided in `replica_comparison`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kraftpy.client.admin_values import NodeDescription
from kraftpy.client.any_node import Deadline
from kraftpy.client.replica_comparison import (
    Extent,
    ReplicaDifference,
    VerifiedPartition,
    common_extent,
    differing_ranges,
    differing_records,
    joined,
    range_difference,
)
from kraftpy.client.wire import ADMIN, ClientPorts, as_kraftpy_error
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import BrokerNotAvailableError, KraftpyError
from kraftpy.pb import admin_pb2
from kraftpy.runtime.ports import Address, TransportError

BYTES_PER_CALL = 16 * 1024 * 1024
VERIFY_S = 24 * 3600.0
"""How long a comparison may take by default: it may have to read whole disks."""
STEP = 1000
"""Offsets of one range."""
ANSWER_MS = 60_000
"""Silence of one broker until it counts as not reachable: it may have to read all of that from a slow disk."""


@dataclass(frozen=True, slots=True)
class VerifyProgress:
    """How far a comparison is: one partition, up to `offset` of `end_offset`."""

    topic: str
    partition: int
    offset: int
    end_offset: int


Progress = Callable[[VerifyProgress], None]


class Verifying:
    """Compares one partition after the other."""

    def __init__(
        self, ports: ClientPorts, brokers: Sequence[NodeDescription], deadline: Deadline, progress: Progress | None
    ) -> None:
        self._ports = ports
        self._addresses = {broker.node_id: Address(broker.host, broker.port) for broker in brokers}
        self._deadline = deadline
        self._progress = progress or (lambda progress: None)

    async def verify(self, topic: str, partition: int, replicas: Sequence[int]) -> VerifiedPartition:
        """Compare `replicas`. Whoever does not answer is left out from then on, and named."""
        unreachable: dict[int, str] = {}
        live = list(replicas)
        extents = await self._ask(live, unreachable, topic, partition, 0, 0)
        start, end = common_extent(Extent(each.log_start_offset, each.high_watermark) for each in extents.values())
        may_have_gaps = any(each.may_have_gaps for each in extents.values())
        differences: list[ReplicaDifference] = []
        compacted = 0
        offset = start
        while offset < end:
            self._progress(VerifyProgress(topic, partition, offset, end))
            answers = await self._ask(live, unreachable, topic, partition, offset, end)
            after = min((each.next_offset for each in answers.values()), default=end)
            if after <= offset:
                break  # nobody answers any more, or their logs were cut
            for first in self._suspicious(answers, offset, after):
                last = min(first - first % STEP + STEP, after)
                found, more = await self._look_closely(live, unreachable, topic, partition, first, last, may_have_gaps)
                if not found and not may_have_gaps:  # the same records, in batches that are not
                    found = range_difference(topic, partition, first, last, _range_digests(answers, first))
                differences += found
                compacted += more
            offset = after
        self._progress(VerifyProgress(topic, partition, end, end))
        return VerifiedPartition(
            topic, partition, tuple(replicas), start, end, tuple(joined(differences)), compacted, unreachable
        )

    def _suspicious(self, answers: Mapping[int, admin_pb2.DigestReplicaResponse], start: int, end: int) -> list[int]:
        """Where ranges begin that differ, or that somebody cannot read."""
        digests = [
            {each.start_offset: (each.batches, each.checksum) for each in answer.ranges if each.start_offset < end}
            for answer in answers.values()
        ]
        starts: dict[int, None] = dict.fromkeys(differing_ranges(digests))
        for answer in answers.values():
            for damage in answer.damages:
                for offset in range(damage.start_offset - damage.start_offset % STEP, damage.end_offset, STEP):
                    starts[offset] = None
        return sorted(max(offset, start) for offset in starts if offset < end and offset + STEP > start)

    async def _look_closely(
        self,
        live: list[int],
        unreachable: dict[int, str],
        topic: str,
        partition: int,
        start: int,
        end: int,
        may_have_gaps: bool,
    ) -> tuple[list[ReplicaDifference], int]:
        answers = await self._ask(live, unreachable, topic, partition, start, end, records=True)
        records = {
            broker: {each.offset: each.checksum for each in answer.records if each.offset >= start}
            for broker, answer in answers.items()
        }
        damaged = {
            broker: [
                (max(each.start_offset, start), min(each.end_offset, end), each.why)
                for each in answer.damages
                if each.start_offset < end and each.end_offset > start
            ]
            for broker, answer in answers.items()
        }
        return differing_records(topic, partition, records, damaged, may_have_gaps=may_have_gaps)

    async def _ask(
        self,
        live: list[int],
        unreachable: dict[int, str],
        topic: str,
        partition: int,
        start: int,
        end: int,
        *,
        records: bool = False,
    ) -> dict[int, admin_pb2.DigestReplicaResponse]:
        """All of `live`, which those who do not answer leave."""
        request = admin_pb2.DigestReplicaRequest(
            topic=topic,
            partition=partition,
            start_offset=start,
            end_offset=end,
            step=STEP,
            bytes_max=2**31 - 1 if records else BYTES_PER_CALL,
            records=records,
        )
        asked = list(live)
        answers = await asyncio.gather(*[self._ask_one(broker, request) for broker in asked])
        found: dict[int, admin_pb2.DigestReplicaResponse] = {}
        for broker, answer in zip(asked, answers, strict=True):
            if isinstance(answer, KraftpyError):
                live.remove(broker)
                unreachable[broker] = f"{answer.name}: {answer.message}"
            else:
                found[broker] = answer
        return found

    async def _ask_one(
        self, broker: int, request: admin_pb2.DigestReplicaRequest
    ) -> admin_pb2.DigestReplicaResponse | KraftpyError:
        address = self._addresses.get(broker)
        if address is None:
            return BrokerNotAvailableError("it is not registered, or out of service")
        try:
            answer = await self._ports.call(
                address,
                ADMIN + "DigestReplica",
                request,
                admin_pb2.DigestReplicaResponse,
                min(self._deadline.left_ms, ANSWER_MS),
            )
        except TransportError as error:
            return as_kraftpy_error(error)
        return answer if answer.error == NO_ERROR else error_for(answer.error, answer.error_message)


def _range_digests(
    answers: Mapping[int, admin_pb2.DigestReplicaResponse], offset: int
) -> dict[int, tuple[int, int] | None]:
    """Of the range that holds `offset`, by broker."""
    start = offset - offset % STEP
    return {
        broker: next(((each.batches, each.checksum) for each in answer.ranges if each.start_offset == start), None)
        for broker, answer in answers.items()
    }
