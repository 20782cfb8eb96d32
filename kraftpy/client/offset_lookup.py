"""Asking leaders for offsets: beginning, end, or the first record at or after a time."""

import asyncio
from collections.abc import Callable, Mapping

from kraftpy.client.cluster_view import Leader
from kraftpy.client.config import ClientConfig
from kraftpy.client.metadata import Metadata
from kraftpy.client.values import TopicPartition
from kraftpy.client.wire import CLIENT, ClientPorts, as_kraftpy_error, backoff_ms
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import CallTimeoutError, KraftpyError, StaleMetadataError
from kraftpy.pb import client_pb2
from kraftpy.runtime.ports import TransportError

ATTEMPT_MS = 2_000  # silence of a leader before the metadata is looked at again

Found = Callable[[TopicPartition, client_pb2.ListedOffset], None]


class OffsetLookup:
    """ListOffsets, sent to each partition's leader and repeated until answered."""

    def __init__(self, config: ClientConfig, ports: ClientPorts, metadata: Metadata, isolation: int) -> None:
        """`isolation`: 0, or 1 for the end that read_committed sees."""
        self._isolation = isolation
        self._config = config
        self._ports = ports
        self._metadata = metadata

    async def find(self, wanted: Mapping[TopicPartition, int], timeout_ms: float, found: Found) -> None:
        """Call `found` once for each partition, in any order; `wanted` maps partitions to times (-1 end, -2 beginning).

        Raises `CallTimeoutError`, or the first error that repeating cannot mend.
        """
        clock = self._ports.clock
        ends_ms = clock.monotonic_ms() + timeout_ms
        left = dict(wanted)
        last: Exception | None = None
        attempts = 0
        while left:
            for topic in dict.fromkeys(place.topic for place in left):
                self._metadata.use(topic)
            by_leader: dict[Leader, dict[TopicPartition, int]] = {}
            for place, time_ms in left.items():
                leader = self._metadata.leader(*place)
                if leader is not None:
                    by_leader.setdefault(Leader(leader.node_id, -1), {})[place] = time_ms
            attempt_ms = max(min(ATTEMPT_MS, self._config.request_timeout_ms, ends_ms - clock.monotonic_ms()), 1)
            questions = [self._ask(leader, part, round(attempt_ms)) for leader, part in by_leader.items()]
            answers = [await questions[0]] if len(questions) == 1 else await asyncio.gather(*questions)
            for answer in answers:
                if isinstance(answer, KraftpyError):
                    last = answer
                    continue
                for listed in answer:
                    place = TopicPartition(listed.topic, listed.partition)
                    if listed.error == NO_ERROR:
                        if left.pop(place, None) is not None:
                            found(place, listed)
                        continue
                    last = error_for(listed.error, f"{place}: {error_for(listed.error).message}")
                    if not last.retriable:
                        raise last
            if not left:
                return
            attempts += 1
            left_ms = ends_ms - clock.monotonic_ms()
            if left_ms <= 0:
                names = ", ".join(str(place) for place in left)
                raise CallTimeoutError(
                    f"no offsets of {names} within {timeout_ms:.0f} ms" + (f": {last}" if last else "")
                )
            if not by_leader or isinstance(last, StaleMetadataError):
                await self._metadata.updated(left_ms)
            else:
                pause_ms = backoff_ms(attempts, self._config.retry_backoff_ms, self._config.retry_backoff_max_ms)
                await asyncio.sleep(min(self._ports.jittered(pause_ms), left_ms) / 1_000)

    async def _ask(
        self, leader: Leader, wanted: Mapping[TopicPartition, int], timeout_ms: int
    ) -> list[client_pb2.ListedOffset] | KraftpyError:
        request = client_pb2.ListOffsetsRequest(isolation_level=self._isolation)
        for place, time_ms in wanted.items():
            known = self._metadata.leader(*place)
            request.partitions.add(
                topic=place.topic,
                partition=place.partition,
                timestamp_ms=time_ms,
                current_leader_epoch=-1 if known is None else known.epoch,
            )
        address = self._metadata.view.brokers.get(leader.node_id)
        if address is None:
            return StaleMetadataError(f"node {leader.node_id} is gone")
        try:
            answer = await self._ports.call(
                address,
                CLIENT + "ListOffsets",
                request,
                client_pb2.ListOffsetsResponse,
                timeout_ms,
            )
        except TransportError as error:
            self._metadata.invalidate()
            failure = as_kraftpy_error(error)
            return failure if isinstance(failure, StaleMetadataError) else StaleMetadataError(str(error))
        return list(answer.partitions)
