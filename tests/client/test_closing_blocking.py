"""The ends of blocking clients: what is refused changes nothing, and what has begun is brought to its end."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kraftpy import Admin, Consumer, Producer, RecordMetadata
from kraftpy.client import loop_thread
from kraftpy.errors import ClosedError, ConcurrentUseError, KraftpyError
from tests.client.fake_broker import FakeCluster
from tests.client.fake_groups import FakeGroups
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
    found = run_script(
        """
        import asyncio
        from kraftpy import Admin
        admin = Admin(cluster.bootstrap, _transport=cluster)
        handled = threading.Event()

        def end(number, frame):
            admin.close()
            handled.set()

        async def close():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
            print(await asyncio.to_thread(handled.wait, 10))

        signal.signal(signal.SIGTERM, end)
        admin._admin.close = close
        admin.close()
        """,
        timeout_s=20,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "True\n", "")
