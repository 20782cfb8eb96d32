"""The examples of docs/examples, run as they stand: over gRPC, with threads, against coordinators in memory."""

import importlib.util
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kraftpy import Consumer, ConsumerRecord, Producer
from kraftpy.client.values import TopicPartition
from kraftpy.errors import ClosedError, CoordinatorNotAvailableError, RebalanceInProgressError
from tests.cli.served import ServedCluster
from tests.client.fake_broker import FakeCluster
from tests.client.fake_groups import FakeGroups
from tests.client.fake_transactions import FakeTransactions

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
README = Path(__file__).parents[2] / "README.md"
WAIT_S = 30.0


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_coordinators(cluster: FakeCluster) -> tuple[FakeGroups, FakeTransactions]:
    groups = FakeGroups(cluster)
    return groups, FakeTransactions(cluster, groups)


@pytest.fixture
def served() -> Iterator[ServedCluster]:
    made = ServedCluster(with_groups=with_coordinators)
    yield made
    made.close()


def fill(served: ServedCluster, topic: str, partitions: int, count: int) -> None:
    served.cluster.create(topic, partitions)
    with Producer(served.cluster.bootstrap) as producer:
        for number in range(count):
            producer.send(topic, b"%d" % number, partition=number % partitions)


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < ends, "it did not come to that"
        threading.Event().wait(0.02)


def committed(served: ServedCluster, group: str, topic: str, partitions: int) -> list[int]:
    with Consumer(bootstrap=served.cluster.bootstrap, group_id=group) as look:
        found = look.committed([(topic, number) for number in range(partitions)])
    return [0 if offset is None else offset.offset for offset in found.values()]


@pytest.mark.parametrize("at", ["on_assign", "on_revoke"])
@pytest.mark.parametrize("ends", ["close", "unsubscribe"])
def test_a_callback_may_end_its_consumer_and_nothing_else(served: ServedCluster, at: str, ends: str) -> None:
    """Clients of one process share a thread, which a consumer gives back once."""
    fill(served, "lines", 2, 10)
    told: list[int] = []
    with Producer(served.cluster.bootstrap) as producer:
        consumer = Consumer(bootstrap=served.cluster.bootstrap, group_id="g", auto_offset_reset="earliest")

        def end(places: list[TopicPartition]) -> None:
            told.append(len(places))
            getattr(consumer, ends)()

        callbacks: dict[str, Any] = {at: end}
        consumer.subscribe("lines", **callbacks)
        read = 0
        try:
            while read < 10 and not told:
                read += len(consumer.poll(0.2))
            getattr(consumer, ends)()
        except ClosedError:
            assert ends == "close"
        consumer.close()
        assert told == [2]
        assert sum(committed(served, "g", "lines", 2)) == read == (10 if at == "on_revoke" else 0)
        assert producer.send("lines", b"and on").result(10).offset >= 0


def test_closing_takes_no_longer_than_it_is_given(served: ServedCluster) -> None:
    """Though nobody takes the last offsets."""
    fill(served, "lines", 1, 10)
    groups, _ = served.groups
    consumer = Consumer("lines", bootstrap=served.cluster.bootstrap, group_id="g", auto_offset_reset="earliest")
    while not consumer.poll(0.2):
        pass
    groups.refuse("CommitOffsets", *[CoordinatorNotAvailableError() for _ in range(1_000)])
    began = time.monotonic()
    consumer.close(timeout=0.5)
    assert time.monotonic() - began < 2


class Crash(Exception):
    """The program dies here."""


class Seen:
    """What was processed, on which threads."""

    def __init__(self) -> None:
        self.values: Counter[bytes] = Counter()
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, record: ConsumerRecord) -> None:
        with self._lock:
            self.values[record.value] += 1
            self.threads.add(threading.current_thread().name)


def running(work: Callable[..., None], *arguments: Any, **settings: Any) -> tuple[threading.Thread, threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(*arguments, stop), kwargs=settings)
    thread.start()
    return thread, stop


def test_threads_with_a_consumer_each(served: ServedCluster) -> None:
    fill(served, "lines", 4, 200)
    seen = Seen()
    work = example("consumer_per_thread").consume_in_threads
    thread, stop = running(work, served.cluster.bootstrap, "lines", "threads", seen)
    until(lambda: len(seen.values) == 200)
    with Producer(served.cluster.bootstrap) as producer:
        until(lambda: _each_thread_is_busy(producer, seen))
    stop.set()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert sum(committed(served, "threads", "lines", 4)) == served_count(served, "lines")


def _each_thread_is_busy(producer: Producer, seen: Seen) -> bool:
    for partition in range(4):
        producer.send("lines", b"more", partition=partition)
    producer.flush()
    return len(seen.threads) == 4


def served_count(served: ServedCluster, topic: str) -> int:
    return sum(place.end_offset for place in served.cluster.topics[topic])


def dying_at(offset: int, seen: Seen) -> Callable[[ConsumerRecord], None]:
    def handle(record: ConsumerRecord) -> None:
        if record.offset == offset:
            raise Crash
        seen(record)

    return handle


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_commits_nothing_that_it_has_not_handled(served: ServedCluster) -> None:
    fill(served, "lines", 1, 10)
    work = example("consumer_per_thread").consume_in_threads
    seen = Seen()
    work(served.cluster.bootstrap, "lines", "threads", dying_at(3, seen), threading.Event(), threads=1)
    assert committed(served, "threads", "lines", 1)[0] <= 3 == len(seen.values)


@pytest.mark.parametrize("by", ["poll", "iteration"])
def test_a_blocking_consumer_that_ends_by_an_exception_commits_nothing_that_was_not_processed(
    served: ServedCluster, by: str
) -> None:
    fill(served, "lines", 1, 10)
    handle = dying_at(3, Seen())
    with (
        pytest.raises(Crash),
        Consumer("lines", bootstrap=served.cluster.bootstrap, group_id="g", auto_offset_reset="earliest") as consumer,
    ):
        while True:
            for record in consumer.poll(0.2, 2) if by == "poll" else consumer:
                handle(record)
    assert committed(served, "g", "lines", 1) == [2 if by == "poll" else 3]


def test_a_bounded_pool_of_workers(served: ServedCluster) -> None:
    """Commits stay behind what is done, slow workers lead to a pause and not to a rebalance, nothing is done twice."""
    fill(served, "lines", 2, 300)
    gate = threading.Event()
    seen = Seen()
    begun = Counter[int]()

    def slow(record: ConsumerRecord) -> None:
        begun[record.partition] += 1
        if record.offset == 3:
            gate.wait(WAIT_S)  # one record that takes long holds up the commits of its partition, not the others
        seen(record)

    work = example("worker_pool").consume_with_pool
    thread, stop = running(work, served.cluster.bootstrap, "lines", "pool", slow, workers=4, in_hand_max=20)
    until(lambda: sum(seen.values.values()) >= 40)
    until(lambda: committed(served, "pool", "lines", 2) == [3, 3])
    threading.Event().wait(1.0)
    assert max(begun.values()) <= 20 + 2 * 50, "polling went on, handing out did not"
    gate.set()
    until(lambda: len(seen.values) == 300)
    until(lambda: committed(served, "pool", "lines", 2) == [150, 150])
    stop.set()
    thread.join(WAIT_S)
    assert set(seen.values.values()) == {1}


def test_workers_finish_what_is_in_hand_before_a_partition_goes(served: ServedCluster) -> None:
    fill(served, "lines", 2, 200)
    seen = Seen()

    def slow(record: ConsumerRecord) -> None:
        threading.Event().wait(0.01)
        seen(record)

    work = example("worker_pool").consume_with_pool
    one, stop_one = running(work, served.cluster.bootstrap, "lines", "pool", slow, workers=2, in_hand_max=20)
    until(lambda: len(seen.values) > 20)
    two, stop_two = running(work, served.cluster.bootstrap, "lines", "pool", slow, workers=2, in_hand_max=20)
    until(lambda: len(seen.values) == 200)
    stop_one.set()
    one.join(WAIT_S)
    stop_two.set()
    two.join(WAIT_S)
    assert set(seen.values.values()) == {1}, "a rebalance in between repeats nothing"


def test_combined_commits_with_a_rebalance_in_between(served: ServedCluster) -> None:
    fill(served, "lines", 2, 200)
    seen = Seen()
    work = example("combined_commit").consume
    one, stop_one = running(work, served.cluster.bootstrap, "lines", "combined", seen)
    until(lambda: len(seen.values) > 20)
    groups, _ = served.groups
    groups.refuse("CommitOffsets", RebalanceInProgressError())
    two, stop_two = running(work, served.cluster.bootstrap, "lines", "combined", seen)
    until(lambda: len(seen.values) == 200)
    for stop, thread in ((stop_one, one), (stop_two, two)):
        stop.set()
        thread.join(WAIT_S)
    assert committed(served, "combined", "lines", 2) == [100, 100]


def test_combined_commits_end_with_what_was_handled(served: ServedCluster) -> None:
    fill(served, "lines", 1, 10)
    work = example("combined_commit").consume
    with pytest.raises(Crash):
        work(served.cluster.bootstrap, "lines", "combined", dying_at(3, Seen()), threading.Event())
    assert committed(served, "combined", "lines", 1) == [3]


@pytest.mark.parametrize("mode", ["at_most_once", "at_least_once", "exactly_once"])
def test_what_is_lost_and_what_is_repeated(served: ServedCluster, mode: str, record_property: Any) -> None:
    """The program dies in the middle of a batch, again and again, and is started anew until all was read."""
    fill(served, "source", 1, 100)
    served.cluster.create("target", 1)
    work = getattr(example("delivery_guarantees"), mode)
    handled = 0

    def process(record: ConsumerRecord) -> bytes:
        nonlocal handled
        handled += 1
        if handled % 17 == 0:
            raise Crash
        return bytes(record.value)

    crashes = 0
    while committed(served, mode, "source", 1) != [100]:
        try:
            left = 100 - committed(served, mode, "source", 1)[0]
            work(served.cluster.bootstrap, "source", "target", mode, process, left)
        except Crash:
            crashes += 1
    _, transactions = served.groups
    written = Counter(transactions.committed("target"))
    lost = 100 - len(written)
    repeated = sum(written.values()) - len(written)
    record_property("lost", lost)
    record_property("repeated", repeated)
    print(f"{mode}: {crashes} crashes, {lost} lost, {repeated} repeated")
    assert crashes >= 5
    assert (lost > 0) == (mode == "at_most_once")
    assert (repeated > 0) == (mode == "at_least_once")


def test_readmes_transaction_that_fails_leaves_its_records_to_the_next_reader(served: ServedCluster) -> None:
    """Neither in the transaction, which is aborted, nor when the consumer closes."""
    fill(served, "greetings", 1, 10)
    served.cluster.create("replies", 1)
    (source,) = re.findall(
        r"^```python\n((?:(?!```).)*\.transaction\(\):.*?)^```", README.read_text(), re.DOTALL | re.M
    )
    source = source.replace("localhost:9092", served.cluster.bootstrap)
    assert "enable_auto_commit=False" in source
    assert 'isolation_level="read_committed"' in source
    last = "        producer.send_offsets("
    assert last in source
    with pytest.raises(Crash):
        exec(compile(source.replace(last, "        raise Crash\n" + last), "README.md", "exec"), {"Crash": Crash})
    assert committed(served, "polite", "greetings", 1) == [0]
    _, transactions = served.groups
    assert transactions.committed("replies") == []
