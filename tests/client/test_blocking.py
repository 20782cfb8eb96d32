"""The blocking clients: threads, callbacks, Ctrl-C, forks."""

import asyncio
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kraftpy import Consumer, ConsumerRecord, Producer, RecordMetadata
from kraftpy.client import loop_thread
from kraftpy.client.group.handover import Handover
from kraftpy.errors import (
    BufferExhaustedError,
    CallTimeoutError,
    ClosedError,
    ConcurrentUseError,
    InvalidRecordError,
    KraftpyError,
    UnknownTopicOrPartitionError,
)
from tests.client.fake_broker import FakeCluster

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "kraftpy"]
    assert loop_thread._shared is None


def lines(partitions: int = 1) -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", partitions)
    return cluster


def test_many_threads_share_a_producer_and_one_sdk_thread() -> None:
    cluster = lines(3)
    with Producer(cluster.bootstrap, _transport=cluster, batch_size=2_000, buffer_memory=20_000) as producer:

        def send(thread: int) -> None:
            for number in range(2_000):
                producer.send("lines", b"%d:%05d" % (thread, number), partition=thread % 3)

        threads = [threading.Thread(target=send, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        with Producer(cluster.bootstrap, _transport=cluster) as other:
            other.send("lines", b"9:other")
            assert sum(thread.name == "kraftpy" for thread in threading.enumerate()) == 1
        for thread in threads:
            thread.join()
        producer.flush()
        assert producer._producing.accumulator.used_bytes == 0
    values = [value for partition in range(3) for value in cluster.values("lines", partition)]
    assert len(values) == len(set(values)) == 8_001
    for index in range(4):
        mine = [value for value in cluster.values("lines", index % 3) if value.startswith(b"%d:" % index)]
        assert mine == [b"%d:%05d" % (index, number) for number in range(2_000)]


def test_callbacks_run_on_the_sdk_thread_and_must_not_wait() -> None:
    cluster = lines()
    told: list[Any] = []

    def callback(metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
        told.append(threading.current_thread().name)
        told.append(producer.send("lines", b"from a callback"))
        for wait in (
            told[-1].result,
            producer.flush,
            producer.close,
            lambda: producer.send("unknown yet", b"x"),
            lambda: producer.partitions_for("lines"),
        ):
            with pytest.raises(ConcurrentUseError):
                wait()
        told.append("done")

    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        producer.send("lines", b"x", on_delivery=callback).result(5)
        producer.flush()
        assert told[0] == "kraftpy"
        assert told[2] == "done"
        assert told[1].result(5).offset == 1


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit])
def test_a_callback_that_would_end_the_thread_only_fails(ending: type[BaseException]) -> None:
    cluster = lines()

    class Interceptor:
        def on_acknowledgement(self, metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
            raise ending

        def close(self) -> None:
            raise ending

    def end(metadata: RecordMetadata | None, error: KraftpyError | None) -> None:
        raise ending

    producer = Producer(cluster.bootstrap, _transport=cluster, linger_ms=20, interceptors=[Interceptor()])
    with Producer(cluster.bootstrap, _transport=cluster) as other:
        told = threading.Event()
        producer.send("lines", b"1", on_delivery=end)
        producer.send("lines", b"2", on_delivery=lambda _metadata, _error: told.set())
        producer.flush(5)
        assert told.wait(5)
        producer.send("lines", b"3", on_delivery=end).result(5)
        producer.close(5)
        other.send("lines", b"4").result(5)
    assert cluster.values("lines", 0) == [b"1", b"2", b"3", b"4"]


def test_nothing_but_the_last_client_ends_the_thread() -> None:
    cluster = lines()
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        assert producer._thread is not None
        producer._thread.post(sys.exit)
        producer._thread.post(lambda: asyncio.get_running_loop().stop())
        producer.send("lines", b"x").result(5)


def test_a_result_waits_and_says_when_it_does_not_come() -> None:
    cluster = lines()
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        producer.send("lines", b"x").result(5)
        cluster.silent |= {1, 2, 3}
        delivery = producer.send("lines", b"y")
        with pytest.raises(CallTimeoutError):
            delivery.result(0.05)
        with pytest.raises(TimeoutError):
            producer.flush(timeout=0.05)
        assert not delivery.done()
        producer.close(timeout=0)
        assert isinstance(delivery.exception(5), ClosedError)
        with pytest.raises(ClosedError):
            producer.send("lines", b"z")
        with pytest.raises(ClosedError):
            producer.flush()
        producer.close()
        producer._producing.accumulator.take_failures()


def test_failures_are_told_by_result_by_flush_and_by_the_end_of_with() -> None:
    cluster = lines()
    cluster.partition("lines").fail_next.extend([(InvalidRecordError, False)] * 3)
    with pytest.raises(InvalidRecordError), Producer(cluster.bootstrap, _transport=cluster) as producer:
        with pytest.raises(InvalidRecordError):
            producer.send("lines", b"1").result(5)
        with pytest.raises(InvalidRecordError):
            producer.flush()
        producer.flush()
        producer.send("lines", b"2")


def test_an_error_does_not_grow_with_each_raise() -> None:
    cluster = lines()
    cluster.partition("lines").fail_next.append((InvalidRecordError, False))
    producer = Producer(cluster.bootstrap, _transport=cluster)
    delivery = producer.send("lines", b"1")
    lengths = []
    for _ in range(3):
        with pytest.raises(InvalidRecordError) as caught:
            delivery.result(5)
        lengths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert lengths == [2, 2, 2]
    producer.close()


def test_a_full_buffer_blocks_then_fails_and_a_close_wakes_who_waits() -> None:
    cluster = lines()
    producer = Producer(
        cluster.bootstrap, _transport=cluster, buffer_memory=5_000, batch_size=500, linger_ms=0, max_block_ms=100
    )
    producer.send("lines", b"x").result(5)
    cluster.silent |= {1, 2, 3}
    with pytest.raises(BufferExhaustedError, match=r"buffer\.memory"):
        for _ in range(100):
            producer.send("lines", b"x" * 100)
    outcome: list[object] = []
    waiting = threading.Event()

    def wait() -> None:
        waiting.set()
        try:
            producer.send("lines", b"x" * 100)
        except KraftpyError as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait(5)
    producer.close(timeout=0)
    thread.join(5)
    assert isinstance(outcome[0], ClosedError | BufferExhaustedError)


def test_an_unknown_topic_fails_in_the_callers_thread() -> None:
    cluster = lines()
    with (
        Producer(cluster.bootstrap, _transport=cluster, topic_metadata_propagation_max_ms=100) as producer,
        pytest.raises(UnknownTopicOrPartitionError),
    ):
        producer.send("missing", b"x")


def test_a_consumer_refuses_a_second_thread() -> None:
    cluster = lines()
    with Consumer("lines", bootstrap=cluster.bootstrap, _transport=cluster) as consumer:
        inside = threading.Event()
        original = consumer._consuming.poll

        async def slow_poll(timeout_s: float, count_max: int) -> list[ConsumerRecord] | Handover:
            inside.set()
            return await original(timeout_s, count_max)

        consumer._consuming.poll = slow_poll  # type: ignore[method-assign]
        thread = threading.Thread(target=consumer.poll, args=(0.3,))
        thread.start()
        assert inside.wait(5)
        with pytest.raises(ConcurrentUseError, match="another thread"):
            consumer.poll(0)
        with pytest.raises(ConcurrentUseError):
            next(consumer)
        thread.join()
        assert consumer.poll(0) == []  # one thread after the other is fine
    with pytest.raises(ClosedError):
        consumer.poll()
    consumer.close()


def test_an_iteration_and_other_calls_mix() -> None:
    cluster = lines()
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        for number in range(20):
            producer.send("lines", b"%d" % number)
    with Consumer(
        "lines",
        bootstrap=cluster.bootstrap,
        auto_offset_reset="earliest",
        value_deserializer="json",
        _transport=cluster,
    ) as consumer:
        assert next(consumer).value == 0
        assert consumer.position(("lines", 0)) == 1
        assert next(consumer).value == 1
        assert [record.value for record in consumer.poll(5, max_records=2)] == [2, 3]
        consumer.seek(("lines", 0), 10)
        assert next(consumer).value == 10
        consumer.pause(("lines", 0))
        assert consumer.poll(0.05) == []
        consumer.resume(("lines", 0))
        assert next(consumer).value == 11
        assert consumer.end_offsets(consumer.assignment()) == {("lines", 0): 20}
        consumer.seek_to_end()
        assert consumer.position(("lines", 0)) == 20
        consumer.seek_to_beginning()
        assert consumer.poll(5, max_records=1)[0].offset == 0


def run_script(body: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    preamble = """
        import os, signal, sys, threading
        from kraftpy import Consumer, Producer
        from tests.client.fake_broker import FakeCluster
        cluster = FakeCluster(3)
        cluster.create("lines", 1)
    """
    code = "\n".join(line.strip("\n")[8:] for line in (preamble + body).splitlines())
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.parametrize(
    "wait",
    [
        "next(consumer)",
        "consumer.poll(timeout=60)",
        "producer.flush()",
        "producer.send('lines', b'y').result()",
        "[producer.send('lines', b'y' * 1000) for _ in range(100)]",
        "producer.send('missing', b'y')",
    ],
)
def test_ctrl_c_ends_every_wait(wait: str) -> None:
    found = run_script(
        f"""
        settings = dict(buffer_memory=5000, topic_metadata_propagation_max_ms=60000)
        producer = Producer(cluster.bootstrap, _transport=cluster, **settings)
        cluster.create("empty", 1)
        consumer = Consumer("empty", bootstrap=cluster.bootstrap, _transport=cluster)
        producer.send("lines", b"x").result(5)
        cluster.silent |= {{1, 2, 3}}
        producer.send("lines", b"stuck")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            {wait}
        except KeyboardInterrupt:
            print("interrupted")
        consumer.close()
        producer.close(timeout=0)
        """
    )
    assert found.stdout == "interrupted\n", found.stderr


def test_a_client_says_that_it_does_not_survive_a_fork() -> None:
    found = run_script(
        """
        producer = Producer(cluster.bootstrap, _transport=cluster)
        consumer = Consumer("lines", bootstrap=cluster.bootstrap, _transport=cluster)
        producer.send("lines", b"x").result(5)
        child = os.fork()
        if child == 0:
            for call in (producer.flush, lambda: producer.send("lines", b"lost"), consumer.poll):
                try:
                    call()
                except Exception as error:
                    print(error)
            with Producer(cluster.bootstrap, _transport=cluster) as own:
                print(own.send("lines", b"own").result(5).offset)
            sys.exit(0)
        print(os.waitpid(child, 0)[1])
        consumer.close()
        producer.close()
        print("parent closed")
        """
    )
    said = loop_thread.FORKED + "\n"
    assert (found.stdout, found.stderr) == (said * 3 + "1\n0\nparent closed\n", "")


def test_a_fork_while_another_thread_is_inside_of_a_producer() -> None:
    """Its lock is held in the child for ever, by a thread that is not there; and so is what the parent still sends."""
    found = run_script(
        """
        import threading
        from kraftpy.errors import ClosedError
        producer = Producer(cluster.bootstrap, _transport=cluster, linger_ms=60_000)
        producer.send("lines", b"x")
        producer.flush()
        told = []
        under_way = producer.send("lines", b"y", on_delivery=lambda metadata, error: told.append(metadata))
        inside, leave = threading.Event(), threading.Event()

        def stay():
            with producer._lock:
                inside.set()
                leave.wait(20)

        threading.Thread(target=stay).start()
        inside.wait()
        child = os.fork()
        if child == 0:
            for call in (lambda: producer.send("lines", b"lost"), under_way.result):
                try:
                    call()
                except ClosedError:
                    print("refused")
            producer.close()
            print(told)
            sys.exit(0)
        leave.set()
        print(os.waitpid(child, 0)[1])
        producer.close()
        print(under_way.result().offset)
        """
    )
    assert (found.stdout, found.stderr) == ("refused\nrefused\n[]\n0\n1\n", "")


def test_a_program_that_forgets_to_close_still_delivers() -> None:
    found = run_script(
        """
        producer = Producer(cluster.bootstrap, _transport=cluster, linger_ms=200)
        producer.send("lines", b"x", on_delivery=lambda metadata, error: print(metadata.offset, flush=True))
        """
    )
    assert found.stdout == "0\n", found.stderr


@pytest.mark.parametrize(
    "wait",
    [
        "producer.flush()",
        "producer.close()",
        "producer.send('lines', b'y').result()",
        "[producer.send('lines', b'y' * 1000) for _ in range(100)]",
        "producer.send('missing', b'y')",
    ],
)
def test_a_signals_handler_may_close_the_last_client_and_exit(wait: str) -> None:
    found = run_script(
        f"""
        settings = dict(buffer_memory=5000, topic_metadata_propagation_max_ms=60000)
        producer = Producer(cluster.bootstrap, _transport=cluster, **settings)
        producer.send("lines", b"x").result(5)
        cluster.silent |= {{1, 2, 3}}
        producer.send("lines", b"stuck")

        def end(number, frame):
            producer.close(timeout=0)
            sys.exit(0)

        signal.signal(signal.SIGTERM, end)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        {wait}
        print("not interrupted")
        """
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_a_transaction_whose_producer_was_closed_ends_as_its_block_does(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = lines()
    producer = Producer(cluster.bootstrap, _transport=cluster, transactional_id="t")
    monkeypatch.setattr(producer, "begin_transaction", lambda: None)
    with pytest.raises(SystemExit), producer.transaction():
        producer.close()
        sys.exit()


@pytest.mark.parametrize(
    "wait",
    [
        "producer.close()",
        "producer.flush()",
        "other.flush()",
        "producer.send('lines', b'z')",
        "delivery.result()",
        "consumer.poll()",
    ],
)
def test_a_signals_handler_inside_of_send_is_refused_what_would_never_end(wait: str) -> None:
    """The SDK's thread needs the lock that the interrupted send holds."""
    found = run_script(
        f"""
        from kraftpy.errors import ConcurrentUseError
        other = Producer(cluster.bootstrap, _transport=cluster, linger_ms=60_000)
        other.send("lines", b"x")

        def end(number, frame):
            try:
                {wait}
            except ConcurrentUseError as error:
                print(error)

        armed = False

        def partitioner(topic, key, value, partition_count):
            global armed
            if armed:
                armed = False
                signal.raise_signal(signal.SIGTERM)
            return 0

        consumer = Consumer("lines", bootstrap=cluster.bootstrap, _transport=cluster)
        producer = Producer(cluster.bootstrap, _transport=cluster, partitioner=partitioner)
        producer.send("lines", b"x").result(5)
        delivery = producer.send("lines", b"x")
        signal.signal(signal.SIGTERM, end)
        armed = True
        producer.send("lines", b"x").result(5)
        for client in (producer, other, consumer):
            client.close()
        """
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "set a flag" in found.stdout
    assert found.stdout.count("\n") == 1


def test_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Producer(lines().bootstrap, _transport=lines()):
        assert signal.getsignal(signal.SIGINT) is before
