"""The simulated network: calls, streams and frames, and what each fault does to them."""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from kraftpy.runtime.ports import (
    Address,
    FileSlice,
    FrameHandler,
    Methods,
    Ports,
    Refused,
    RemoteFailure,
    TransportError,
    TransportTimeout,
    Unreachable,
)
from simulation.network import NetworkConfig
from simulation.world import NodeFailed, World, WorldConfig

ECHO, SLOW, FAIL, STREAM, NUMBERS = "/t/Echo", "/t/Slow", "/t/Fail", "/t/Stream", "/t/Numbers"
SERVER, FRAMED = Address("n1", 9093), Address("n1", 9092)
SEEN: list[str] = []


async def server(ports: Ports) -> None:
    """Echoes by call, by stream and by frame."""

    async def echo(request: bytes) -> bytes:
        SEEN.append(request.decode())
        return request

    async def slow(request: bytes) -> bytes:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            SEEN.append("cancelled")
            raise
        SEEN.append("served")
        return request

    async def fail(request: bytes) -> bytes:
        raise ValueError(request)

    async def stream(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
        async for request in requests:
            if request == b"end":
                return
            if request == b"fail":
                raise ValueError("as asked")
            await send(request)

    async def numbers(requests: AsyncIterator[bytes], send: Callable[[bytes], Awaitable[None]]) -> None:
        for number in range(1000):
            await send(b"%d" % number)
            SEEN.append("sent")

    methods = Methods({ECHO: echo, SLOW: slow, FAIL: fail}, {STREAM: stream, NUMBERS: numbers})
    await ports.transport.serve(Address("0.0.0.0", SERVER.port), methods)
    file = ports.disk.open("/log", create=True)
    file.write([b"0123456789"], 0)

    def open_handler(peer: Address) -> FrameHandler:
        async def handle(frame: memoryview) -> list[bytes | memoryview | FileSlice]:
            request = bytes(frame)
            SEEN.append(request.decode())
            if request.startswith(b"sleep"):
                await asyncio.sleep(float(request[5:]))
            if request == b"fail":
                raise ValueError(peer.host)
            if request == b"missing":
                return [FileSlice(file, 8, 4)]
            if request == b"slice":
                return [b"<", FileSlice(file, 2, 3), memoryview(b">")]
            return [] if request == b"silence" else [request]

        return handle

    await ports.framed.serve(FRAMED, open_handler)
    await asyncio.get_running_loop().create_future()


Main = Callable[[World, Ports], Awaitable[object]]


def run(main: Main, config: WorldConfig | None = None, seed: int = 1) -> World:
    """Run `main` as a client on host c1, with the echo server on n1."""
    world = World(seed, config or WorldConfig(time_limit_ms=600_000))

    async def scenario(_: World) -> None:
        SEEN.clear()
        world.start("n1", server)
        client = world.open_life("c1")

        async def as_client() -> None:
            await asyncio.sleep(0.1)
            await main(world, client.ports)

        await world.run_in(client, as_client())

    world.run(scenario)
    return world


def test_calls_are_answered_or_fail_as_over_grpc() -> None:
    async def main(world: World, ports: Ports) -> None:
        call = ports.transport.call
        assert await call(SERVER, ECHO, b"hello", 1000) == b"hello"
        with pytest.raises(RemoteFailure, match="UNIMPLEMENTED"):
            await call(SERVER, "/t/Nothing", b"", 1000)
        with pytest.raises(Refused):
            await call(Address("n1", 1), ECHO, b"", 1000)
        with pytest.raises(Unreachable, match="no such host"):
            await call(Address("nowhere", 1), ECHO, b"", 1000)
        began = world.loop.now_us
        with pytest.raises(TransportTimeout):
            await call(SERVER, SLOW, b"", 1000)
        assert world.loop.now_us - began == 1_000_000
        await asyncio.sleep(0.1)
        assert SEEN == ["hello", "cancelled"]

    run(main)


def test_a_failing_handler_is_a_remote_failure_and_fails_the_run() -> None:
    async def main(world: World, ports: Ports) -> None:
        with pytest.raises(RemoteFailure, match="ValueError"):
            await ports.transport.call(SERVER, FAIL, b"", 1000)
        await asyncio.sleep(1)

    with pytest.raises(NodeFailed, match="/t/Fail failed"):
        run(main)
    run(main, WorldConfig(failures_allowed=True))


def test_a_message_may_be_too_large() -> None:
    async def main(world: World, ports: Ports) -> None:
        with pytest.raises(RemoteFailure, match="too large"):
            await ports.transport.call(SERVER, ECHO, bytes(101), 1000)

    run(main, WorldConfig(network=NetworkConfig(message_bytes_max=100)))


def test_a_cancelled_call_cancels_its_handler() -> None:
    async def main(world: World, ports: Ports) -> None:
        task = asyncio.get_running_loop().create_task(ports.transport.call(SERVER, SLOW, b"", 60_000))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)
        assert SEEN == ["cancelled"]

    run(main)


def test_addresses_are_bound_once_and_freed_by_stop() -> None:
    async def main(world: World, ports: Ports) -> None:
        first = await ports.transport.serve(Address("c1", 0), Methods({}, {}))
        second = await ports.framed.serve(Address("127.0.0.1", 0), lambda peer: _silent)
        assert first.address.port != second.address.port
        with pytest.raises(OSError) as caught:
            await ports.framed.serve(first.address, lambda peer: _silent)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError):
            await ports.transport.serve(Address("n1", 1), Methods({}, {}))
        await first.stop()
        await ports.framed.serve(first.address, lambda peer: _silent)
        with pytest.raises(RemoteFailure, match="UNIMPLEMENTED"):
            own = await ports.transport.serve(Address("localhost", 0), Methods({}, {}))
            await ports.transport.call(Address("localhost", own.address.port), ECHO, b"", 100)

    run(main)


async def _silent(frame: memoryview) -> list[bytes]:
    return []


def test_a_server_that_stops_lets_calls_finish_within_its_grace() -> None:
    async def main(world: World, ports: Ports) -> None:
        async def slow(request: bytes) -> bytes:
            await asyncio.sleep(float(request))
            return request

        service = await ports.transport.serve(Address("c1", 7), Methods({"/s": slow}, {}))
        address = service.address
        short = asyncio.get_running_loop().create_task(ports.transport.call(address, "/s", b"1", 60_000))
        long = asyncio.get_running_loop().create_task(ports.transport.call(address, "/s", b"9", 60_000))
        await asyncio.sleep(0.5)
        await service.stop(2000)
        assert await short == b"1"
        with pytest.raises(Unreachable):
            await long
        with pytest.raises(Unreachable, match="refused"):
            await ports.transport.call(address, "/s", b"1", 1000)

    run(main)


def test_a_framed_server_that_stops_answers_what_it_has_and_closes() -> None:
    async def main(world: World, ports: Ports) -> None:
        def open_handler(peer: Address) -> FrameHandler:
            async def handle(frame: memoryview) -> list[bytes]:
                await asyncio.sleep(float(bytes(frame)))
                return [bytes(frame)]

            return handle

        service = await ports.framed.serve(Address("c1", 0), open_handler)
        connections = [await ports.framed.connect(service.address, 1000) for _ in range(3)]
        short = asyncio.get_running_loop().create_task(connections[0].request([b"1"], 60_000))
        long = asyncio.get_running_loop().create_task(connections[1].request([b"9"], 60_000))
        await asyncio.sleep(0.5)
        await service.stop(2000)
        assert bytes(await short) == b"1"
        with pytest.raises(Unreachable):
            await long
        await asyncio.sleep(0.1)
        for connection in connections:
            with pytest.raises(Unreachable):
                await connection.request([b"0"], 1000)

    run(main)


def test_streams_keep_their_order_and_end_or_fail_as_the_handler_does() -> None:
    async def main(world: World, ports: Ports) -> None:
        stream = await ports.transport.open_stream(SERVER, STREAM)
        for number in range(20):
            await stream.send(b"%d" % number)
        assert [await stream.receive() for _ in range(20)] == [b"%d" % number for number in range(20)]
        await stream.send(b"end")
        assert await stream.receive() is None
        assert await stream.receive() is None
        with pytest.raises(Unreachable):
            await stream.send(b"more")

        for method, error in (("/t/Nothing", RemoteFailure), (STREAM, RemoteFailure)):
            stream = await ports.transport.open_stream(SERVER, method)
            with pytest.raises(error):
                await stream.send(b"fail")
                await stream.receive()
        stream = await ports.transport.open_stream(Address("n1", 1), STREAM)
        with pytest.raises(Unreachable, match="refused"):
            await stream.receive()
        stream = await ports.transport.open_stream(SERVER, STREAM)
        await stream.send(b"x")
        stream.close()
        with pytest.raises(Unreachable):
            await stream.receive()
        await asyncio.sleep(0.1)

    world = run(main, WorldConfig(failures_allowed=True))
    assert len(world.loop.failures) == 1
    assert all(not host.endings for host in map(world.network.host, ("n1", "c1")))


def test_a_stream_of_which_one_side_is_at_its_end_goes_on_until_the_other_is() -> None:
    async def main(world: World, ports: Ports) -> None:
        stream = await ports.transport.open_stream(SERVER, STREAM)
        for number in range(20):
            await stream.send(b"%d" % number)
        await stream.end_sending()
        assert [await stream.receive() for _ in range(20)] == [b"%d" % number for number in range(20)]
        assert await stream.receive() is None

    run(main)


def test_a_stream_waits_for_room() -> None:
    async def main(world: World, ports: Ports) -> None:
        stream = await ports.transport.open_stream(SERVER, NUMBERS)
        assert await stream.receive() == b"0"
        await asyncio.sleep(10)
        assert len(SEEN) < 100
        assert [await stream.receive() for _ in range(999)] == [b"%d" % number for number in range(1, 1000)]
        assert await stream.receive() is None

    run(main)


def test_frames_are_pipelined_and_answered_in_order() -> None:
    async def main(world: World, ports: Ports) -> None:
        connection = await ports.framed.connect(FRAMED, 1000)
        requests = [b"sleep0.5", b"a", b"sleep0.1", b"slice"]
        began = world.loop.now_us
        answers = await asyncio.gather(*[connection.request([request[:1], request[1:]], 5000) for request in requests])
        assert [bytes(answer) for answer in answers] == [b"sleep0.5", b"a", b"sleep0.1", b"<234>"]
        assert world.loop.now_us - began < 600_000
        assert [request.encode() for request in SEEN] == requests
        connection.close()
        for unanswered in (b"silence", b"sleep2"):
            connection = await ports.framed.connect(FRAMED, 1000)
            results = await asyncio.gather(
                connection.request([unanswered], 1000), connection.request([b"sleep3"], 5000), return_exceptions=True
            )
            assert [type(result) for result in results] == [TransportTimeout, Unreachable]
            with pytest.raises(Unreachable):
                await connection.request([b"x"], 1000)
        for address in (Address("n1", 1), SERVER, Address("nowhere", 1)):
            with pytest.raises(Unreachable):
                await ports.framed.connect(address, 1000)

    world = run(main)
    assert all(not host.endings for host in map(world.network.host, ("n1", "c1")))


@pytest.mark.parametrize("seed", range(20))
def test_what_was_sent_before_a_connection_is_closed_arrives_before_the_news(seed: int) -> None:
    """As TCP's FIN, which comes behind the bytes."""

    async def main(world: World, ports: Ports) -> None:
        connection = await ports.framed.connect(FRAMED, 1000)
        waiting = [asyncio.ensure_future(connection.request([b"sleep9"], 20_000)) for _ in range(3)]
        await asyncio.sleep(0)
        connection.close()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.sleep(1)
        assert SEEN == ["sleep9"] * 3

    run(main, seed=seed)


@pytest.mark.parametrize("request_frame", [b"fail", b"missing"])
def test_a_failing_frame_handler_closes_the_connection(request_frame: bytes) -> None:
    async def main(world: World, ports: Ports) -> None:
        connection = await ports.framed.connect(FRAMED, 1000)
        with pytest.raises(Unreachable):
            await connection.request([request_frame], 1000)

    run(main, WorldConfig(failures_allowed=True))


async def try_everything(ports: Ports) -> list[str]:
    """What a call, a new connection and a new stream meet."""

    async def stream() -> bytes | None:
        opened = await ports.transport.open_stream(SERVER, STREAM)
        await opened.send(b"x")
        return await opened.receive()

    met = []
    for attempt in (ports.transport.call(SERVER, ECHO, b"x", 1000), ports.framed.connect(FRAMED, 1000), stream()):
        try:
            await attempt
            met.append("fine")
        except TransportError as error:
            met.append(type(error).__name__)
    return met


def test_a_killed_process_is_refused_and_breaks_what_was_open() -> None:
    async def main(world: World, ports: Ports) -> None:
        connection = await ports.framed.connect(FRAMED, 1000)
        stream = await ports.transport.open_stream(SERVER, STREAM)
        await stream.send(b"x")
        await stream.receive()
        started = world.loop.now_us
        asyncio.get_running_loop().call_later(1, world.crash, "n1")
        results = await asyncio.gather(
            ports.transport.call(SERVER, SLOW, b"", 60_000),
            connection.request([b"sleep60"], 60_000),
            stream.receive(),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [Unreachable] * 3
        assert world.loop.now_us - started < 1_200_000
        assert await try_everything(ports) == ["Refused", "Unreachable", "Unreachable"]
        world.restart("n1")
        await asyncio.sleep(0.1)
        assert await try_everything(ports) == ["fine"] * 3

    run(main)


def test_a_host_without_power_is_silent() -> None:
    async def main(world: World, ports: Ports) -> None:
        connection = await ports.framed.connect(FRAMED, 1000)
        world.crash("n1", power=True)
        assert await try_everything(ports) == ["TransportTimeout", "TransportTimeout", "Unreachable"]
        with pytest.raises(Unreachable, match="keep-alive"):
            await connection.request([b"x"], 60_000)

    run(main)


def test_a_paused_host_accepts_and_answers_when_it_goes_on() -> None:
    async def main(world: World, ports: Ports) -> None:
        world.pause("n1")
        assert await try_everything(ports) == ["TransportTimeout", "fine", "Unreachable"]
        connection = await ports.framed.connect(FRAMED, 1000)
        asyncio.get_running_loop().call_later(3, world.resume, "n1")
        began = world.loop.now_us
        answers = await asyncio.gather(
            ports.transport.call(SERVER, ECHO, b"x", 10_000), connection.request([b"y"], 10_000)
        )
        assert [bytes(answer) for answer in answers] == [b"x", b"y"]
        assert world.loop.now_us - began > 3_000_000

    run(main)


@pytest.mark.parametrize("direction", ["both", "there", "back"])
@pytest.mark.parametrize("hold", [False, True])
def test_a_partition_is_silent_and_breaks_connections_by_keep_alive(direction: str, hold: bool) -> None:
    async def main(world: World, ports: Ports) -> None:
        connection = await ports.framed.connect(FRAMED, 1000)
        if direction in ("both", "there"):
            world.block("c1", "n1", hold=hold)
        if direction in ("both", "back"):
            world.block("n1", "c1", hold=hold)
        assert await try_everything(ports) == ["TransportTimeout", "TransportTimeout", "Unreachable"]
        with pytest.raises(Unreachable, match="keep-alive"):
            await connection.request([b"y"], 60_000)
        world.heal()
        await asyncio.sleep(0.1)
        assert await try_everything(ports) == ["fine"] * 3
        expected = 1 if direction != "there" and not hold else SEEN.count("x")
        assert SEEN.count("x") >= expected

    run(main)


def test_what_meets_a_clogged_link_arrives_late_and_what_meets_a_partition_never() -> None:
    async def main(world: World, ports: Ports) -> None:
        for hold in (True, False):
            SEEN.clear()
            world.partition(["c1"], ["n1"], hold=hold)
            asyncio.get_running_loop().call_later(2, world.heal)
            call = ports.transport.call(SERVER, ECHO, b"x", 5000)
            if hold:
                assert await call == b"x"
            else:
                with pytest.raises(TransportTimeout):
                    await call
            assert len(SEEN) == hold

    run(main)


def test_connections_survive_a_short_partition_in_order() -> None:
    async def main(world: World, ports: Ports) -> None:
        connection = await ports.framed.connect(FRAMED, 1000)
        world.partition(["c1"], ["n1"])
        asyncio.get_running_loop().call_later(4, world.heal)
        answers = await asyncio.gather(*[connection.request([b"%d" % number], 9000) for number in range(50)])
        assert [bytes(answer) for answer in answers] == [b"%d" % number for number in range(50)]

    run(main)


def test_calls_are_lost_reset_and_duplicated_at_the_rates_asked_for() -> None:
    outcomes: dict[str, int] = {}

    async def main(world: World, ports: Ports) -> None:
        async def call(number: int) -> None:
            try:
                await ports.transport.call(SERVER, ECHO, b"%d" % number, 1000)
                outcome = "answered"
            except TransportError as error:
                outcome = type(error).__name__
            acted = "acted" if str(number) in SEEN else "never came"
            outcomes[f"{outcome}, {acted}"] = outcomes.get(f"{outcome}, {acted}", 0) + 1

        await asyncio.gather(*[call(number) for number in range(2000)])
        await asyncio.sleep(1)
        assert len(SEEN) > len(dict.fromkeys(SEEN))

    network = NetworkConfig(loss_rate=0.05, reset_rate=0.05, duplicate_rate=0.05, duplicate_methods=("/t/",))
    world = run(main, WorldConfig(network=network))
    assert 40 < outcomes["TransportTimeout, acted"] < 160 and 40 < outcomes["TransportTimeout, never came"] < 160
    assert outcomes["Unreachable, acted"] > 10 and outcomes["Unreachable, never came"] > 10
    assert outcomes["answered, acted"] > 1500
    assert min(world.network.injected[kind] for kind in ("loss", "reset", "duplicate")) > 50


def test_calls_overtake_each_other() -> None:
    async def main(world: World, ports: Ports) -> None:
        await asyncio.gather(*[ports.transport.call(SERVER, ECHO, b"%d" % number, 1000) for number in range(100)])
        assert sorted(SEEN, key=int) != SEEN

    run(main)


def test_a_delayed_link_is_slow_in_one_direction() -> None:
    async def main(world: World, ports: Ports) -> None:
        world.network.delay("c1", "n1", 500)
        began = world.loop.now_us
        await ports.transport.call(SERVER, ECHO, b"x", 5000)
        assert 500_000 < world.loop.now_us - began < 600_000

    run(main)


def test_a_closed_transport_fails_what_is_open() -> None:
    async def main(world: World, ports: Ports) -> None:
        call = asyncio.get_running_loop().create_task(ports.transport.call(SERVER, SLOW, b"", 60_000))
        stream = await ports.transport.open_stream(SERVER, STREAM)
        await stream.send(b"x")
        await asyncio.sleep(1)
        await ports.transport.close()
        with pytest.raises(Unreachable):
            await call
        with pytest.raises(Unreachable):
            await stream.receive()
        with pytest.raises(Unreachable):
            await ports.transport.call(SERVER, ECHO, b"", 1000)

    run(main)
