"""What is sent right behind a batch that was refused for now is refused likewise, and not as out of order."""

import asyncio

import pytest

from broker.replication.refused_sequences import FOLLOW_UP_MS, REMEMBERED_MAX, RefusedSequences
from kraftpy.errors import (
    CorruptRecordError,
    KraftpyError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OutOfOrderSequenceError,
)
from kraftpy.record import BatchBuilder
from tests.replication.cluster import Cluster, play

NOT_HERE = NotLeaderOrFollowerError("not here")
OUT_OF_ORDER = OutOfOrderSequenceError("out of order")


def batch(sequence: int, producer_id: int = 7, epoch: int = 0) -> bytes:
    builder = BatchBuilder()
    builder.append(1_000, None, b"x")
    return bytes(builder.build(producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence))


def told(refused: RefusedSequences, sequence: int, error: KraftpyError, now_ms: int = 0, **producer: int) -> type:
    return type(refused.told("t", 0, batch(sequence, **producer), error, now_ms))


@pytest.mark.parametrize("first", [0, 5, 2**31 - 2])
@pytest.mark.parametrize("error", [NOT_HERE, NotEnoughReplicasError("too few")])
def test_followers_of_a_refused_batch_are_told_the_same(first: int, error: KraftpyError) -> None:
    refused = RefusedSequences()
    assert told(refused, first, error) is type(error)
    for at in range(1, 5):
        assert told(refused, (first + at) % 2**31, OUT_OF_ORDER, now_ms=at) is type(error)


@pytest.mark.parametrize(
    ("sequence", "now_ms", "producer"),
    [(5, 0, {}), (4, 0, {}), (6, FOLLOW_UP_MS, {}), (6, 0, {"producer_id": 8}), (6, 0, {"epoch": 1})],
)
def test_a_real_gap_is_told_as_one(sequence: int, now_ms: int, producer: dict[str, int]) -> None:
    """What is no later batch of the same producer, or comes too late for it."""
    refused = RefusedSequences()
    told(refused, 5, NOT_HERE)
    assert told(refused, sequence, OUT_OF_ORDER, now_ms, **producer) is OutOfOrderSequenceError
    assert type(refused.told("t", 1, batch(6), OUT_OF_ORDER, 0)) is OutOfOrderSequenceError, "another partition"


def test_what_is_wrong_with_a_batch_itself_explains_nothing() -> None:
    refused = RefusedSequences()
    assert told(refused, 5, CorruptRecordError("damaged")) is CorruptRecordError
    assert told(refused, 6, OUT_OF_ORDER) is OutOfOrderSequenceError
    assert refused.told("t", 0, b"garbage", NOT_HERE, 0) is NOT_HERE
    assert told(refused, -1, NOT_HERE, producer_id=-1) is NotLeaderOrFollowerError
    assert len(refused) == 0


def test_only_so_many_are_remembered_and_not_for_long() -> None:
    refused = RefusedSequences()
    for producer_id in range(REMEMBERED_MAX + 10):
        told(refused, 5, NOT_HERE, producer_id=producer_id)
    assert len(refused) == REMEMBERED_MAX
    assert told(refused, 6, OUT_OF_ORDER, producer_id=0) is OutOfOrderSequenceError
    assert told(refused, 6, OUT_OF_ORDER, producer_id=10) is NotLeaderOrFollowerError
    told(refused, 5, NOT_HERE, now_ms=FOLLOW_UP_MS)
    assert len(refused) == 1


def test_what_is_behind_a_request_for_which_there_was_no_room_is_refused_likewise() -> None:
    async def story(cluster: Cluster) -> None:
        assert (await cluster.produce_batch(1, cluster.batch(1, 7, 0))).error is None
        producing = cluster.brokers[1].replicas._producing
        producing._parked_max = 0
        crowded = await cluster.produce_batch(1, cluster.batch(1, 7, 1))
        assert isinstance(crowded.error, NotEnoughReplicasError), "which every producer sends again"
        producing._parked_max = 100
        assert isinstance((await cluster.produce_batch(1, cluster.batch(1, 7, 2))).error, NotEnoughReplicasError)
        again = [await cluster.produce_batch(1, cluster.batch(1, 7, sequence)) for sequence in (1, 2)]
        assert [(each.error, each.base_offset) for each in again] == [(None, 1), (None, 2)]

    play(story)


def test_a_producer_that_meets_a_leader_in_the_moment_of_its_election_is_not_out_of_order() -> None:
    """Its first batch comes before broker 2 knows that it leads, the second one after it: what broker 1 has written
    of them must not be written again under a new epoch."""

    async def story(cluster: Cluster) -> None:
        for sequence in range(3):
            assert (await cluster.produce_batch(1, cluster.batch(1, 7, sequence))).error is None
        early = await cluster.produce_batch(2, cluster.batch(1, 7, 3))
        assert isinstance(early.error, NotLeaderOrFollowerError)
        cluster.controller.change(leader=2)
        await cluster.until(lambda: cluster.replica(2).is_leader)
        behind = await cluster.produce_batch(2, cluster.batch(1, 7, 4))
        assert isinstance(behind.error, NotLeaderOrFollowerError)
        assert behind.leader is not None and behind.leader.id == 2, "it is to come here again"
        again = [await cluster.produce_batch(2, cluster.batch(1, 7, sequence)) for sequence in (2, 3, 4)]
        assert [(each.error, each.base_offset) for each in again] == [(None, 2), (None, 3), (None, 4)]
        await asyncio.sleep(FOLLOW_UP_MS / 1000)
        gap = await cluster.produce_batch(2, cluster.batch(1, 7, 9))
        assert isinstance(gap.error, OutOfOrderSequenceError)

    play(story)
