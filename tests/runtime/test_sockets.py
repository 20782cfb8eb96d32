"""What both ends of every framed connection are told."""

import contextlib
import errno
import socket
from collections.abc import Iterator

import pytest

from kraftpy.runtime import sockets
from kraftpy.runtime.framed_transport import TcpFramedTransport
from kraftpy.runtime.ports import Address, TransportTimeout, Unreachable
from kraftpy.runtime.sockets import RETRANSMIT_MS_MAX, TCP_RTO_MAX_MS, connect, listen, prepare
from tests.runtime.framed import Run, ask, run_here, serving


def _retransmit_ms_max(of: socket.socket) -> int:
    try:
        return of.getsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS)
    except OSError as error:
        assert error.errno == errno.ENOPROTOOPT
        pytest.skip("TCP_RTO_MAX_MS is Linux's, since 6.15")


def test_what_is_not_acknowledged_is_sent_again_every_second_by_both_ends(run: Run) -> None:
    async def story() -> None:
        listening = await listen(Address("127.0.0.1", 0), 1)
        with listening, await connect(Address("127.0.0.1", listening.getsockname()[1])) as connected:
            assert _retransmit_ms_max(connected) == RETRANSMIT_MS_MAX
        async with serving() as (transport, server):
            connection = await transport.connect(server.address, 1_000)
            await connection.request([b"there"], 1_000)
            (served,) = server._connections
            assert _retransmit_ms_max(served._socket) == RETRANSMIT_MS_MAX
            connection.close()

    run(story())


def test_a_system_that_does_not_know_the_option_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kraftpy.runtime.sockets.TCP_RTO_MAX_MS", 4_711)
    with socket.socket() as own:
        prepare(own)
        assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_connection_that_is_gone_is_told() -> None:
    own = socket.socket()
    own.close()
    with pytest.raises(OSError):
        prepare(own)


@contextlib.contextmanager
def silent() -> Iterator[tuple[str, int]]:
    """An address where the system answers nobody: its queue is full."""
    with contextlib.ExitStack() as closing:
        full = closing.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = closing.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()


def test_a_silent_address_of_a_name_leaves_time_for_the_others(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with serving() as (transport, server):
            with silent() as nobody:

                async def looked_up(address: Address) -> list[tuple[int, tuple[str, int]]]:
                    return [(socket.AF_INET, nobody), (socket.AF_INET, nobody), (socket.AF_INET, tuple(server.address))]

                monkeypatch.setattr(sockets, "_addresses", looked_up)
                connection = await transport.connect(Address("three", 1), 900)
                assert await ask(connection, b"?", 1_000) == b"<?>"
                connection.close()

    run(story())


def test_a_silent_address_is_a_time_out(run: Run) -> None:
    async def story() -> None:
        with silent() as nobody, pytest.raises(TransportTimeout, match="no connection within 200 ms"):
            await TcpFramedTransport(run_here).connect(Address(*nobody), 200)

    run(story())


@pytest.mark.parametrize(
    ("addresses", "raised"),
    [
        (("refusing", "refusing"), ConnectionRefusedError),
        (("silent", "refusing"), TimeoutError),
        (("refusing", "silent"), TimeoutError),
        (("wrong", "refusing"), OSError),
        (("refusing", "wrong"), OSError),
        (("wrong", "silent", "wrong"), TimeoutError),
    ],
)
def test_a_name_refuses_where_each_of_its_addresses_does(
    run: Run, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...], raised: type[OSError]
) -> None:
    async def story() -> None:
        with socket.socket() as reserved, silent() as nobody:
            reserved.bind(("127.0.0.1", 0))
            known = {"silent": nobody, "refusing": reserved.getsockname(), "wrong": ("255.255.255.255", 1)}

            async def looked_up(address: Address) -> list[tuple[int, tuple[str, int]]]:
                return [(socket.AF_INET, known[each]) for each in addresses]

            monkeypatch.setattr(sockets, "_addresses", looked_up)
            with pytest.raises(OSError) as caught:
                await connect(Address("several", 1), 200)
            assert caught.type is raised

    run(story())


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".example"])
def test_a_name_that_cannot_be_one_has_no_address(run: Run, name: str) -> None:
    async def story() -> None:
        with pytest.raises(OSError, match="is no name"):
            await connect(Address(name, 1))
        with pytest.raises(Unreachable, match="is no name"):
            await TcpFramedTransport(run_here).connect(Address(name, 1), 1_000)

    run(story())
