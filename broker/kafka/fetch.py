"""Fetch (key 1), versions 4–18: for consumers, and in the newest version for the brokers that follow.

What a fetch finds, how long it waits, what its session remembers (KIP-227) and whether another replica is nearer to the
reader (KIP-392) is the replicas' affair; here it is read and written. Not served: fetching from the quorum's log
(KIP-595), throttling, tiered storage.

A replica id of 0 or above is taken at its word, as no listener authenticates yet; the replicas check the broker's epoch
and whether it holds a replica.
"""

import asyncio

from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.endpoints import EndpointOf, no_endpoint
from broker.kafka.fetch_request import FLEXIBLE_FROM, VERSION_MAX, VERSION_MIN, decode_request
from broker.kafka.fetch_response import encode_response
from broker.kafka.ports import Reads
from broker.replication.fetch_types import TURN_PARTITIONS, FetchAnswer
from broker.rpc.limits import WAIT_MAX_MS
from kraftpy.errors import InconsistentClusterIdError
from kraftpy.runtime.ports import FrameParts

BYTES_MAX = 55 * 1024 * 1024
"""fetch.max.bytes of a broker: what a consumer is answered at once, at most (but for a first batch that is larger)."""


class Fetch:
    """The handler."""

    def __init__(
        self,
        replicas: Reads,
        cluster_id: str | None = None,
        endpoint_of: EndpointOf = no_endpoint,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """`cluster_id`: readers that name another are refused; None: nobody is. `bytes_max`: for consumers."""
        self._replicas = replicas
        self._cluster_id = cluster_id
        self._endpoint_of = endpoint_of
        self._bytes_max = bytes_max

    def api(self) -> Api:
        return Api(ApiKey.FETCH, VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM, self.handle)

    async def handle(self, request: Request) -> FrameParts:
        decoded = decode_request(request.version, request.body, request.client_id)
        query = decoded.query
        if len(query.partitions) > TURN_PARTITIONS:
            await asyncio.sleep(0)
        if decoded.cluster_id is not None and self._cluster_id is not None and decoded.cluster_id != self._cluster_id:
            refusal = FetchAnswer([], error=InconsistentClusterIdError)
            return encode_response(request.version, refusal, query.isolation_level)
        if query.replica_id < 0:
            bytes_max = max(1, min(query.max_bytes, self._bytes_max))  # one batch in any case
            query = query._replace(
                max_bytes=bytes_max,
                min_bytes=min(query.min_bytes, bytes_max),
                max_wait_ms=min(query.max_wait_ms, WAIT_MAX_MS),
            )
        answer = await self._replicas.fetch(query)
        if len(answer.partitions) > TURN_PARTITIONS:
            await asyncio.sleep(0)
        return encode_response(request.version, answer, query.isolation_level, self._endpoint_of)
