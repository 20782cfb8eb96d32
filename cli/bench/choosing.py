"""Which door an address has, found out by asking: the one that was wished for, or ours where both are there.

Every port of a kraftpy node takes our calls, so whoever answers the preface of HTTP/2 is one of them. Whoever speaks
Kafka's protocol only is Apache Kafka or its like.
"""

import socket
import struct
from collections.abc import Sequence

from cli.bench.door import Door
from cli.bench.names import DoorName
from cli.doctor.probing import Outcome, probe
from kraftpy.client.addresses import parse_bootstrap
from kraftpy.errors import ConfigurationError, NoBrokersAvailableError
from kraftpy.runtime.ports import Address

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4; an empty SETTINGS frame follows
EMPTY_SETTINGS = struct.pack(">BHBBI", 0, 0, 4, 0, 0)
FRAME_HEADER_BYTES = 9
SETTINGS_TYPE = 4
STRANGERS = (Outcome.TLS, Outcome.WEB, Outcome.STRANGE, Outcome.CLOSED)


def open_door(bootstrap: str, wished: DoorName | None, timeout: float) -> Door:
    """The door to measure.

    Raises `NoBrokersAvailableError`, and `ConfigurationError` where the cluster has no such door, or the client for it
    is not installed.
    """
    addresses = parse_bootstrap(bootstrap)
    door = wished or _door_of(addresses, timeout)
    if door is DoorName.GRPC:
        from cli.bench.grpc_door import GrpcDoor

        if wished is not None:
            _check_takes_calls(addresses, timeout)
        return GrpcDoor(bootstrap, timeout)
    from cli.bench.kafka_door import KafkaDoor

    return KafkaDoor(_listeners(addresses, bootstrap, timeout), timeout)


def takes_calls(address: Address, timeout: float) -> bool:
    """Whether somebody at `address` speaks HTTP/2. Raises `OSError` where nobody can be reached."""
    with socket.create_connection((address.host, address.port), timeout) as connection:
        connection.settimeout(timeout)
        try:
            connection.sendall(PREFACE + EMPTY_SETTINGS)
            heard = b""
            while len(heard) < FRAME_HEADER_BYTES:
                piece = connection.recv(FRAME_HEADER_BYTES - len(heard))
                if not piece:
                    return False
                heard += piece
        except OSError:  # what takes the preface for something else hangs up, or waits for more of it
            return False
    return heard[3] == SETTINGS_TYPE and heard[5:] == bytes(4)


def _door_of(addresses: Sequence[Address], timeout: float) -> DoorName:
    for address in addresses:
        try:
            if takes_calls(address, timeout):
                return DoorName.GRPC
        except OSError:
            continue
        outcome = probe(address, timeout).outcome
        if outcome is Outcome.OK:
            return DoorName.KAFKA
        if outcome in STRANGERS:
            raise ConfigurationError(
                f"{address} is neither kraftpy nor Kafka; `kraftpy doctor -b {address}` tells more"
            )
    raise NoBrokersAvailableError(f"nobody answers at {', '.join(map(str, addresses))}")


def _check_takes_calls(addresses: Sequence[Address], timeout: float) -> None:
    if _door_of(addresses, timeout) is not DoorName.GRPC:
        raise ConfigurationError(
            f"{addresses[0]} speaks Kafka's protocol, but takes none of kraftpy's calls: only --door kafka works there"
        )


def _listeners(addresses: Sequence[Address], bootstrap: str, timeout: float) -> str:
    """Where Kafka's protocol is spoken: what was given, or, where that is a port for calls only, what it says."""
    for address in addresses:
        outcome = probe(address, timeout).outcome
        if outcome is Outcome.OK:
            return bootstrap
        if outcome is Outcome.CALLS:
            from cli.options import admin

            with admin(str(address)) as client:
                nodes = client.describe_cluster(timeout=timeout).brokers
            return ",".join(
                str(Address(each.listener_host, each.listener_port)) for each in nodes if each.listener_port
            )
    raise NoBrokersAvailableError(f"nobody answers at {', '.join(map(str, addresses))}")
