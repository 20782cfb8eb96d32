"""Random faults against an idempotent producer, compared with a dumb twin: a list of what was sent.

Once by Hypothesis, which shrinks, and once by seeds, which reach deeper: more faults in one story.
"""

import asyncio
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kraftpy.client.values import RecordMetadata
from kraftpy.errors import (
    DeliveryTimeoutError,
    InvalidRecordError,
    KafkaStorageError,
    KraftpyError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    RequestTimedOutError,
    UnknownServerError,
)
from tests.client.fake_broker import FakeCluster
from tests.client.support import producer, run

PARTITIONS = 2

PASSING = [
    (NotEnoughReplicasError, False),
    (NotEnoughReplicasAfterAppendError, True),
    (RequestTimedOutError, True),
    (RequestTimedOutError, False),
    (NotLeaderOrFollowerError, True),
    (NotLeaderOrFollowerError, False),
    (KafkaStorageError, False),
]
FINAL = [(InvalidRecordError, False), (UnknownServerError, True), (UnknownServerError, False)]

sends = st.tuples(st.just("send"), st.integers(1, 30))
sleeps = st.tuples(st.just("sleep"), st.sampled_from([1, 4, 20, 150, 1_100]))
steps = st.one_of(
    sends,
    sends,
    sleeps,
    sleeps,
    st.tuples(st.just("fail"), st.lists(st.sampled_from(PASSING), min_size=1, max_size=5)),
    st.tuples(st.just("move"), st.integers(1, 3)),
    st.tuples(st.just("break"), st.just(0)),
    st.tuples(st.just("lose"), st.integers(1, 3)),
    st.tuples(st.just("silence"), st.integers(1, 3)),
    st.tuples(st.just("kill"), st.integers(1, 3)),
    st.tuples(st.just("heal"), st.just(0)),
    st.tuples(st.just("flush"), st.just(0)),
)
final_steps = st.tuples(st.just("fail"), st.lists(st.sampled_from(FINAL + PASSING), min_size=1, max_size=5))


@dataclass
class Sent:
    value: bytes
    partition: int
    metadata: RecordMetadata | None = None
    error: KraftpyError | None = None
    told: int = 0


class Story:
    """Plays the steps, and keeps the twin."""

    def __init__(self, plan: list[tuple[str, object]], delivery_timeout_ms: int) -> None:
        self.plan = plan
        self.cluster = FakeCluster(3)
        self.cluster.create("lines", PARTITIONS)
        self.cluster.latency_s = lambda: self.cluster.random.uniform(0, 0.006)
        self.sent: list[Sent] = []
        self.told: list[list[Sent]] = [[] for _ in range(PARTITIONS)]
        self.delivery_timeout_ms = delivery_timeout_ms

    async def play(self) -> None:
        cluster = self.cluster
        sender = producer(
            cluster, batch_size=160, linger_ms=2, delivery_timeout_ms=self.delivery_timeout_ms, request_timeout_ms=3_000
        )
        loop = asyncio.get_running_loop()
        flushes = []
        first = asyncio.ensure_future(self.send(sender, 1))
        await first
        for kind, detail in self.plan:
            place = cluster.partition("lines", len(self.sent) % PARTITIONS)
            match kind, detail:
                case "send", int(count):
                    await self.send(sender, count)
                case "sleep", int(pause_ms):
                    await asyncio.sleep(pause_ms / 1_000)
                case "fail", list(errors):
                    place.fail_next.extend(errors)
                case "move", int(node_id):
                    cluster.move_leader("lines", len(self.sent) % PARTITIONS, node_id)
                case "break", _:
                    cluster.break_streams()
                case "lose", int(count):
                    cluster.lose_answers += count
                case "silence", int(node_id):
                    cluster.silent.add(node_id)
                case "kill", int(node_id):
                    cluster.down.add(node_id)
                    cluster.break_streams()
                case "heal", _:
                    self.heal()
                case "flush", _:
                    flushes.append(loop.create_task(sender.flush()))
        self.heal()
        cluster.break_streams()
        await asyncio.gather(*flushes, return_exceptions=True)
        try:
            await sender.flush()
        except KraftpyError:
            pass
        assert sender._producing is not None
        assert sender._producing.accumulator.used_bytes == 0
        assert not sender._producing.accumulator.active
        await sender.close()

    async def send(self, sender: object, count: int) -> None:
        for _ in range(count):
            sent = Sent(b"%05d" % len(self.sent), len(self.sent) % PARTITIONS)
            self.sent.append(sent)

            def callback(metadata: RecordMetadata | None, error: KraftpyError | None, sent: Sent = sent) -> None:
                sent.metadata, sent.error, sent.told = metadata, error, sent.told + 1
                self.told[sent.partition].append(sent)

            await sender.send("lines", sent.value, partition=sent.partition, on_delivery=callback)  # type: ignore[attr-defined]

    def heal(self) -> None:
        self.cluster.down.clear()
        self.cluster.silent.clear()
        self.cluster.lose_answers = 0

    def check(self) -> None:
        assert all(sent.told == 1 for sent in self.sent)
        for partition in range(PARTITIONS):
            mine = [sent for sent in self.sent if sent.partition == partition]
            assert self.told[partition] == mine, "callbacks out of order"
            records = self.cluster.partition("lines", partition).records()
            written = [record.value for record in records]
            assert len(written) == len(set(written)), "written twice"
            assert written == sorted(written, key=lambda value: value or b""), "reordered"
            offsets = {record.value: record.offset for record in records}
            for sent in mine:
                if sent.metadata is not None:
                    assert sent.value in offsets, "acknowledged and lost"
                    assert sent.metadata.offset in (offsets[sent.value], -1)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=5, max_size=50), st.integers(0, 1_000))
def test_whatever_passes_every_record_is_written_once_and_in_order(plan: list[tuple[str, object]], seed: int) -> None:
    story = Story(plan, delivery_timeout_ms=600_000)
    run(story.play, seed=seed)
    story.check()
    assert all(sent.error is None for sent in story.sent)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(steps, final_steps, final_steps), min_size=5, max_size=50), st.integers(0, 1_000))
def test_whatever_is_given_up_the_rest_is_written_once_and_in_order(plan: list[tuple[str, object]], seed: int) -> None:
    story = Story(plan, delivery_timeout_ms=1_500)
    run(story.play, seed=seed)
    story.check()
    for sent in story.sent:
        assert sent.error is None or isinstance(
            sent.error, DeliveryTimeoutError | InvalidRecordError | UnknownServerError
        )


def plan_of(seed: int, *, final: bool) -> list[tuple[str, object]]:
    """A long plan with many faults close together."""
    random = Random(seed)
    errors = PASSING + (FINAL * 2 if final else [])
    details: dict[str, object] = {
        "send": lambda: random.randint(1, 30),
        "sleep": lambda: random.choice([1, 4, 20, 150, 1_100]),
        "fail": lambda: [random.choice(errors) for _ in range(random.randint(1, 5))],
        "move": lambda: random.randint(1, 3),
        "lose": lambda: random.randint(1, 3),
        "silence": lambda: random.randint(1, 3),
        "kill": lambda: random.randint(1, 3),
        "break": lambda: 0,
        "heal": lambda: 0,
        "flush": lambda: 0,
    }
    weights = [8, 8, 5, 1, 2, 1, 1, 1, 2, 1]
    kinds = random.choices(list(details), weights, k=random.randint(5, 60))
    return [(kind, details[kind]()) for kind in kinds]  # type: ignore[operator]


@pytest.mark.parametrize("first_seed", [0, 1_000])
def test_seeds(first_seed: int) -> None:
    final = first_seed > 0
    for seed in range(first_seed, first_seed + 120):
        story = Story(plan_of(seed, final=final), delivery_timeout_ms=1_500 if final else 600_000)
        run(story.play, seed=seed)
        try:
            story.check()
            assert final or all(sent.error is None for sent in story.sent)
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
