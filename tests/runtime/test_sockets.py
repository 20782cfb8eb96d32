"""What both ends of every framed connection are told."""

import errno
import socket

import pytest

from kraftpy.runtime.ports import Address
from kraftpy.runtime.sockets import RETRANSMIT_MS_MAX, TCP_RTO_MAX_MS, connect, listen, prepare
from tests.runtime.framed import Run, serving


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
