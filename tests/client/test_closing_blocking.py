"""The ends of blocking clients: what is refused changes nothing, and what has begun is brought to its end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from kraftpy import Admin, Consumer, Producer, RecordMetadata
from kraftpy.client import loop_thread
from kraftpy.client.loop_thread import LoopThread
from kraftpy.client.values import TopicPartition
from kraftpy.client.waiting import Waiter
from kraftpy.errors import ClosedError, ConcurrentUseError, FatalProducerError, KraftpyError
from tests.client.fake_broker import FakeCluster
from tests.client.fake_groups import FakeGroups
from tests.client.fake_transactions import FakeTransactions
from tests.client.test_blocking import run_script
from tests.client.test_closing_consumer import Poison, clearing_it, replacing_all_by_values, taking_one_off

PATIENCE_S = 3.0


@pytest.fixture(autouse=True)
def no_client_is_left() -> Iterator[None]:
    yield
    assert loop_thread._shared is None


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster(3)
    cluster.create("lines", 1)
    return cluster


@pytest.fixture
def groups(cluster: FakeCluster) -> Iterator[FakeGroups]:
    """Coordinators on the SDK's loop."""
    thread = loop_thread.acquire()

    async def begin() -> FakeGroups:
        return FakeGroups(cluster)

    async def end() -> None:
        made.stop()

    made = thread.run(begin)
    yield made
    thread.run(end)
    loop_thread.release(thread)


def fill(cluster: FakeCluster, count: int) -> None:
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        for number in range(count):
            producer.send("lines", b"%d" % number)


def member(cluster: FakeCluster, *topics: str, **settings: Any) -> Consumer:
    return Consumer(
        *topics,
        bootstrap=cluster.bootstrap,
        _transport=cluster,
        group_id="g",
        auto_offset_reset="earliest",
        **settings,
    )


def committed_of(cluster: FakeCluster) -> int | None:
    with member(cluster) as look:
        (found,) = look.committed([("lines", 0)]).values()
    return None if found is None else found.offset


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("take", [taking_one_off, clearing_it, replacing_all_by_values])
def test_what_a_program_does_to_the_list_that_poll_gave_it_changes_nothing_of_what_is_committed(
    cluster: FakeCluster, take: Callable[[list[Any]], Any]
) -> None:
    fill(cluster, 10)
    with pytest.raises(Poison), member(cluster, "lines") as reader:
        while True:
            batch = reader.poll(1, max_records=3)
            if batch and take(batch).offset == 3:
                raise Poison
    with pytest.raises(ClosedError):
        reader.poll()
    assert committed_of(cluster) == 3


@pytest.mark.usefixtures("groups")
def test_what_an_iteration_has_not_handed_out_when_it_unsubscribes_is_not_committed(cluster: FakeCluster) -> None:
    fill(cluster, 10)
    with member(cluster, "lines") as reader:
        for record in reader:
            if record.offset == 2:
                break
        reader.unsubscribe()
    assert committed_of(cluster) == 3


def started(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def has_ended(thread: threading.Thread) -> bool:
    thread.join(PATIENCE_S)
    return not thread.is_alive()


def test_a_callback_that_closes_its_producer_does_not_hold_up_its_close(cluster: FakeCluster) -> None:
    producer = Producer(cluster.bootstrap, _transport=cluster, linger_ms=60_000)
    refused: list[str] = []

    def end(_metadata: RecordMetadata | None, _error: KraftpyError | None) -> None:
        with pytest.raises(ConcurrentUseError) as caught:
            producer.close()
        refused.append(str(caught.value))

    delivery = producer.send("lines", b"x", on_delivery=end)
    assert has_ended(started(producer.close))
    assert delivery.result(0).offset == 0
    assert refused == ["a blocking call inside a callback would stop the SDK's own thread"]


def test_a_callback_that_closes_its_producer_does_not_hold_up_the_end_of_the_program() -> None:
    found = run_script(
        """
        from kraftpy.errors import ConcurrentUseError
        producer = Producer(cluster.bootstrap, _transport=cluster, linger_ms=60_000)

        def end(metadata, error):
            try:
                producer.close()
            except ConcurrentUseError:
                print("refused", metadata.offset, flush=True)

        producer.send("lines", b"x", on_delivery=end)
        """,
        timeout_s=20,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "refused 0\n", "")


def test_a_handler_inside_of_send_does_not_wait_for_a_thread_that_closes(cluster: FakeCluster) -> None:
    """What closes waits for the SDK's thread, and that for the lock of the send that the handler interrupted."""
    producer = Producer(cluster.bootstrap, _transport=cluster, linger_ms=60_000)
    is_delivering, may_end = threading.Event(), threading.Event()

    def deliver(_metadata: RecordMetadata | None, _error: KraftpyError | None) -> None:
        is_delivering.set()
        assert may_end.wait(PATIENCE_S)

    def close_inside_of_send() -> None:
        with producer._lock, pytest.raises(ConcurrentUseError, match="set a flag"):
            producer.close()
        may_end.set()

    delivery = producer.send("lines", b"x", on_delivery=deliver)
    closing = started(producer.close)
    assert is_delivering.wait(PATIENCE_S)
    assert has_ended(started(close_inside_of_send))
    assert has_ended(closing)
    assert delivery.result(0).offset == 0


def test_what_is_sent_once_a_sender_has_crashed_is_refused_and_holds_up_no_close(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = Producer(cluster.bootstrap, _transport=cluster)
    producer.send("lines", b"x").result(PATIENCE_S)
    refused: list[str] = []

    def broken(_now_ms: int) -> Any:
        raise ZeroDivisionError("a planted bug")

    def send_once_more(_metadata: RecordMetadata | None, _error: KraftpyError | None) -> None:
        with pytest.raises(FatalProducerError) as caught:
            producer.send("lines", b"z")
        refused.append(str(caught.value))

    monkeypatch.setattr(producer._producing.sender, "_plan", broken)
    delivery = producer.send("lines", b"y", on_delivery=send_once_more)
    assert isinstance(delivery.exception(PATIENCE_S), FatalProducerError)
    assert has_ended(started(producer.close))
    assert refused == ["the producer has failed, see its log; make another one"]


def closes_of(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each time that the transport is closed from now on."""
    closes: list[None] = []

    async def close() -> None:
        closes.append(None)

    monkeypatch.setattr(cluster, "close", close)
    return closes


def test_a_consumer_that_was_refused_its_close_still_closes(
    cluster: FakeCluster, groups: FakeGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cluster, 3)
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        reader = member(cluster, "lines")
        reader._owns_transport = True
        while not reader.poll(1):
            pass
        with producer._lock, pytest.raises(ConcurrentUseError, match="set a flag"):
            reader.close()
        assert reader.position(("lines", 0)) == 3, "it goes on"
        closes = closes_of(cluster, monkeypatch)
        reader.close()
        assert len(closes) == 1
    assert "LeaveGroup" in [method for _, method in groups.calls]
    assert committed_of(cluster) == 3


def test_a_consumer_says_goodbye_also_where_its_callback_has_used_the_time_up(
    cluster: FakeCluster, groups: FakeGroups
) -> None:
    """Else nobody reads its partitions until its session times out."""
    cluster.latency_s = lambda: 0.005
    fill(cluster, 1)
    told: list[list[TopicPartition]] = []

    def hand_over(places: list[TopicPartition]) -> None:
        told.append(places)
        threading.Event().wait(0.02)

    reader = member(cluster)
    reader.subscribe("lines", on_revoke=hand_over)
    while not reader.poll(1):
        pass
    reader.close(timeout=0.01)
    assert told == [[("lines", 0)]]
    assert "LeaveGroup" in [method for _, method in groups.calls]


def test_an_admin_that_was_refused_its_close_still_closes(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Producer(cluster.bootstrap, _transport=cluster) as producer:
        admin = Admin(cluster.bootstrap, _transport=cluster)
        admin.list_topics()
        admin._admin._owns_transport = True
        with producer._lock, pytest.raises(ConcurrentUseError, match="set a flag"):
            admin.close()
        assert admin.list_topics(), "it goes on"
        closes = closes_of(cluster, monkeypatch)
        admin.close()
        admin.close()
        assert len(closes) == 1


def test_a_callback_on_the_sdk_thread_does_not_wait_for_the_close_of_its_admin(cluster: FakeCluster) -> None:
    admin = Admin(cluster.bootstrap, _transport=cluster)
    refused: list[str] = []

    async def close() -> None:
        with pytest.raises(ConcurrentUseError) as caught:
            admin.close()
        refused.append(str(caught.value))

    admin._admin.close = close  # type: ignore[method-assign]
    assert has_ended(started(admin.close))
    assert refused == ["a blocking call inside a callback would stop the SDK's own thread"]


def test_a_signals_handler_may_close_the_admin_that_is_being_closed() -> None:
    """The signal comes inside of the wait's call: CPython leaves one that comes just before a lock is waited for lying
    until the wait ends."""
    found = run_script(
        """
        import asyncio
        from kraftpy import Admin
        from kraftpy.client.waiting import Waiter
        admin = Admin(cluster.bootstrap, _transport=cluster)
        handled = threading.Event()
        until_woken = Waiter.wait

        def end(number, frame):
            admin.close()
            handled.set()

        def interrupted(waiter, timeout=None):
            Waiter.wait = until_woken
            signal.raise_signal(signal.SIGTERM)
            return waiter.wait(timeout)

        async def close():
            print(await asyncio.to_thread(handled.wait, 10))

        signal.signal(signal.SIGTERM, end)
        admin._admin.close = close
        Waiter.wait = interrupted
        admin.close()
        """,
        timeout_s=20,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "True\n", "")


@contextmanager
def busy(thread: LoopThread) -> Iterator[None]:
    """The SDK's thread is in a callback that takes its time, at most until the thread is to end."""
    is_busy, may_go_on = threading.Event(), threading.Event()

    def stay() -> None:
        is_busy.set()
        while not may_go_on.wait(0.01) and not thread._is_stopping:
            pass

    thread.post(stay)
    assert is_busy.wait(PATIENCE_S)
    try:
        yield
    finally:
        may_go_on.set()


@contextmanager
def ctrl_c_in_every_wait(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def interrupted(_waiter: Waiter, _timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(Waiter, "wait", interrupted)
        yield


@pytest.mark.parametrize("is_last", [True, False])
def test_a_producer_whose_close_is_interrupted_before_it_has_begun_is_closed(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, is_last: bool
) -> None:
    with nullcontext() if is_last else Producer(cluster.bootstrap, _transport=cluster):
        producer = Producer(cluster.bootstrap, _transport=cluster)
        producer.send("lines", b"x").result(PATIENCE_S)
        cluster.silent |= set(cluster.nodes)
        delivery = producer.send("lines", b"y")
        assert producer._thread is not None
        with busy(producer._thread), ctrl_c_in_every_wait(monkeypatch):
            producer.close()
        assert isinstance(delivery.exception(PATIENCE_S), ClosedError)
        with pytest.raises(ClosedError):
            producer.send("lines", b"z")


def test_a_transaction_whose_commit_is_interrupted_before_it_has_begun_is_aborted_by_the_next(
    cluster: FakeCluster, groups: FakeGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions = FakeTransactions(cluster, groups)
    with Producer(cluster.bootstrap, _transport=cluster, transactional_id="t") as producer:
        assert producer._thread is not None
        block = producer.transaction()
        block.__enter__()
        producer.send("lines", b"x")
        with busy(producer._thread), ctrl_c_in_every_wait(monkeypatch):
            block.__exit__(None, None, None)
        with producer.transaction():
            producer.send("lines", b"y")
    assert transactions.committed("lines") == [b"y"]


async def nothing_goes_on() -> None:
    """But this, in a moment."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        _, pending = await asyncio.wait(others, timeout=PATIENCE_S)
        assert not pending


def test_a_consumer_whose_close_is_interrupted_twice_has_ended(
    cluster: FakeCluster, groups: FakeGroups, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cluster, 1)
    reader = member(cluster, "lines")
    reader._owns_transport = True
    while not reader.poll(1):
        pass
    closes = closes_of(cluster, monkeypatch)
    thread = reader._thread
    assert thread is not None
    with busy(thread), ctrl_c_in_every_wait(monkeypatch):
        reader.close()
    with pytest.raises(ClosedError):
        reader.poll()
    thread.run(nothing_goes_on)
    assert len(closes) == 1


def test_an_admin_whose_close_is_interrupted_before_it_has_begun_has_ended(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = Admin(cluster.bootstrap, _transport=cluster)
    admin.list_topics()
    admin._admin._owns_transport = True
    closes = closes_of(cluster, monkeypatch)
    with Producer(cluster.bootstrap, _transport=cluster):
        thread = admin._thread
        assert thread is not None
        with busy(thread), ctrl_c_in_every_wait(monkeypatch):
            admin.close()
    assert len(closes) == 1


def test_a_call_that_comes_while_the_thread_ends_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is posted to a loop that waits for what is ending, and then ends itself."""
    thread = loop_thread.acquire()
    is_ending, has_come = threading.Event(), asyncio.Event()
    finish = loop_thread._finish

    async def tell_and_finish() -> None:
        asyncio.get_running_loop().call_soon(is_ending.set)
        await finish()

    async def linger() -> None:
        lingering = asyncio.create_task(has_come.wait())
        lingering.add_done_callback(lambda done: done.result())

    async def last_call() -> None:
        has_come.set()
        await asyncio.Event().wait()

    def call() -> None:
        with pytest.raises(ClosedError, match="meanwhile"):
            thread.run(last_call)

    monkeypatch.setattr(loop_thread, "_finish", tell_and_finish)
    thread.run(linger)
    ending = started(lambda: loop_thread.release(thread))
    assert is_ending.wait(PATIENCE_S)
    assert has_ended(started(call))
    assert has_ended(ending)


def test_a_call_that_comes_too_late_to_begin_is_told_so() -> None:
    """It is posted to a loop that does nothing more."""
    thread = loop_thread.acquire()
    loop: Any = thread.loop
    is_posted = threading.Event()
    calling: list[threading.Thread] = []

    async def never() -> None:
        raise AssertionError

    def call() -> None:
        with pytest.raises(ClosedError, match="meanwhile"):
            thread.run(never)

    class CalledAtItsEnd:
        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        def call_soon_threadsafe(self, callback: Callable[[], object]) -> None:
            loop.call_soon_threadsafe(callback)
            is_posted.set()

        def close(self) -> None:
            is_posted.clear()
            calling.append(started(call))
            assert is_posted.wait(PATIENCE_S)
            loop.close()

    thread.loop = CalledAtItsEnd()  # type: ignore[assignment]
    loop_thread.release(thread)
    assert has_ended(calling[0])
