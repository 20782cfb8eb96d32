"""Ctrl-C anywhere in a blocking call: the client still works, and still closes."""

import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType

import pytest

from kraftpy import Admin, Consumer, Producer
from kraftpy.client.values import ConsumerRecord
from tests.client.fake_broker import FakeCluster


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", 1)
    return cluster


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """As a coroutine that is never awaited."""
    told: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda what: told.append(what.exc_value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        sys.unraisablehook = before
    assert [each for each in told if not isinstance(each, KeyboardInterrupt)] == []


def interrupted_at(number: int, call: Callable[[], object]) -> bool:
    """Whether `call` had a place of that number where Python looks for signals; Ctrl-C came there.

    That is where a function begins, and behind a call of one that is written in C.
    """
    left = number

    def look(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

    try:
        sys.setprofile(look)
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return left <= 0  # one that came in a finalizer is only told of


def interrupted_everywhere(call: Callable[[], object], still_works: Callable[[], object]) -> int:
    number = 1
    while interrupted_at(number, call):
        still_works()
        number += 1
    return number


def test_a_consumer(cluster: FakeCluster) -> None:
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        for number in range(50):
            producer.send("lines", b"%d" % number)
    with Consumer("lines", bootstrap=cluster.bootstrap, _transport=cluster, auto_offset_reset="earliest") as consumer:
        while not consumer.poll(5, 1):
            pass

        def works() -> None:
            consumer.seek_to_beginning()
            while not consumer.poll(5, 1):
                pass

        assert interrupted_everywhere(lambda: consumer.poll(0.01, 1), works) > 20


@pytest.mark.parametrize("is_iterated", [False, True])
@pytest.mark.parametrize("is_deserialized", [False, True])
def test_a_consumer_passes_over_nothing(cluster: FakeCluster, is_iterated: bool, is_deserialized: bool) -> None:
    """Nothing is skipped by whom Ctrl-C interrupted, and so nothing is committed by `close` that nobody was given."""
    count = 400
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        for number in range(count):
            producer.send("lines", b"%d" % number)
    seen: list[int] = []
    deserializer = (lambda data: data.decode()) if is_deserialized else None
    with Consumer(
        "lines",
        bootstrap=cluster.bootstrap,
        _transport=cluster,
        auto_offset_reset="earliest",
        value_deserializer=deserializer,
    ) as consumer:
        got: list[ConsumerRecord] | ConsumerRecord = []

        def read() -> None:
            nonlocal got
            got = consumer.__next__() if is_iterated else consumer.poll(5, 2)  # as `for` calls it

        number = 1
        while len(seen) < count - 10:
            number = number + 1 if interrupted_at(number, read) else 1
            for record in got if isinstance(got, list) else [got]:
                assert record.offset <= len(set(seen)), "one was passed over"
                seen.append(record.offset)
            got = []


def test_a_producer(cluster: FakeCluster) -> None:
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        producer.send("lines", b"x").result(5)

        def works() -> None:
            value = b"%d" % next(numbers)
            offset = producer.send("lines", value).result(5).offset
            assert cluster.values("lines", 0)[offset] == value

        numbers = count()
        assert interrupted_everywhere(lambda: producer.send("lines", b"x").result(5), works) > 20
        assert interrupted_everywhere(producer.flush, works) > 10


def test_a_producer_that_gathers_records(cluster: FakeCluster) -> None:
    """What was counted as the first of a batch must not be the second."""
    with Producer(cluster.bootstrap, _transport=cluster, linger_ms=5) as producer:
        producer.send("lines", b"x").result(5)

        def send_two() -> None:
            producer.send("lines", b"x")
            producer.send("lines", b"y")

        def works() -> None:
            value = b"%d" % next(numbers)
            offset = producer.send("lines", value).result(5).offset
            assert cluster.values("lines", 0)[offset] == value

        numbers = count()
        assert interrupted_everywhere(send_two, works) > 20


def test_a_producer_without_room(cluster: FakeCluster) -> None:
    with Producer(cluster.bootstrap, _transport=cluster, buffer_memory=1_000, batch_size=500, linger_ms=0) as producer:
        producer.send("lines", b"x").result(5)

        def send_more_than_fits() -> None:
            for _ in range(6):
                producer.send("lines", bytes(300))

        def works() -> None:
            producer.send("lines", b"y").result(5)

        assert interrupted_everywhere(send_more_than_fits, works) > 50
        producer.flush()
        assert producer._producing.accumulator.used_bytes == 0


def test_an_admin(cluster: FakeCluster) -> None:
    with Admin(cluster.bootstrap, _transport=cluster) as admin:
        assert interrupted_everywhere(admin.list_topics, admin.list_topics) > 10
