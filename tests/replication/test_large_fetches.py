"""Fetches of as many partitions as a request has room for: others have their turns between the steps of the answer."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from broker.kafka import fetch
from broker.kafka.api import Request
from broker.kafka.fetch import Fetch
from broker.kafka.fetch_codec import encode_request
from broker.kafka.fetch_request import VERSION_MAX
from broker.replication import sessions
from broker.replication.fetch_types import CONSUMER, TURN_PARTITIONS, FetchQuery, FetchTarget, IsolationLevel
from broker.replication.reading import Reading
from broker.replication.sessions import Sessions
from kraftpy.runtime.ports import Address
from tests.kafka.fake_replicas import join
from tests.replication.cluster import Cluster, play

STEPS = [
    (fetch, "decode_request"),
    (Sessions, "admit"),
    (Reading, "_find_partitions"),
    (Reading, "look"),
    (fetch, "encode_response"),
]
PARTITION_BYTES_MIN = 30  # of an answer


def request_for(partitions: int) -> Request:
    unknown = [FetchTarget(UUID(int=7), "", index, -1, 0, -1, -1, 1 << 20) for index in range(partitions)]
    query = FetchQuery(CONSUMER, -1, 0, 1, 1 << 20, IsolationLevel.READ_UNCOMMITTED, unknown, client_id="c")
    (frame,) = encode_request(query, 1)
    header_bytes = 8 + 2 + 1 + 1  # key, version, correlation id; the client's, with its length; no tags
    return Request(VERSION_MAX, 1, "c", Address("h", 1), memoryview(frame)[header_bytes:])


@pytest.mark.parametrize("partitions, turns", [(TURN_PARTITIONS + 1, len(STEPS)), (TURN_PARTITIONS, 1)])
def test_others_have_their_turns_between_the_steps_of_a_large_fetch(
    monkeypatch: pytest.MonkeyPatch, partitions: int, turns: int
) -> None:
    """One of a cluster of 125,000 partitions takes seconds, and a small one not a turn more than it needs."""
    monkeypatch.setattr(sessions, "PARTITIONS_MAX", partitions)  # there are not so many here
    turn = 0
    taken: list[int] = []

    def told(real: Any) -> Any:
        def step(*arguments: Any) -> Any:
            taken.append(turn)
            return real(*arguments)

        return step

    async def story(cluster: Cluster) -> None:
        nonlocal turn
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, told(getattr(owner, name)))
        fetching = asyncio.ensure_future(Fetch(cluster.brokers[1].replicas).handle(request_for(partitions)))
        while not fetching.done():
            turn += 1
            await asyncio.sleep(0)
        assert len(join(fetching.result())) > PARTITION_BYTES_MIN * partitions
        assert len(taken) == len(STEPS) and len(set(taken)) == turns

    play(story)
