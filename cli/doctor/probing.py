"""One address, tried as a client of Kafka would: look up the name, connect, ask for metadata.

Metadata in version 4 is understood by every Kafka since 0.11 and by kraftpy. What answers something else is recognised
by its first bytes: HTTP/2 (calls, gRPC), TLS, a web server. Whoever closes without a word is asked in HTTP/2, for a
port of calls may answer only those who speak it.
"""

import ipaddress
import socket
import struct
from dataclasses import dataclass
from enum import Enum

from broker.kafka.api import ApiKey
from broker.kafka.messages.metadata import MetadataRequest, MetadataResponse
from broker.kafka.schema import decode, encode
from broker.kafka.wire import ProtocolError
from kraftpy.runtime.handover import HTTP2_PREFACE
from kraftpy.runtime.ports import Address

VERSION = 4
ANSWER_BYTES_MAX = 16 * 1024 * 1024
_CORRELATION_ID = 0x6B726166  # unlike anything that another protocol begins with
_CLIENT_ID = b"kraftpy-doctor"
_HTTP2_SETTINGS = 4
_NO_SETTINGS = bytes((0, 0, 0, _HTTP2_SETTINGS, 0, 0, 0, 0, 0))  # RFC 9113, 6.5: length, type, flags, stream
_TLS_ALERT, _TLS_HANDSHAKE = 0x15, 0x16


class Outcome(Enum):
    """How far it went."""

    OK = "ok"
    UNKNOWN_NAME = "the name cannot be looked up"
    REFUSED = "nobody listens there"
    UNREACHABLE = "there is no way to it"
    SILENT_CONNECT = "no connection in time"
    SILENT = "connected, but no answer in time"
    CLOSED = "connected, and closed without an answer"
    CALLS = "this port takes calls (gRPC)"
    TLS = "this port speaks TLS"
    WEB = "a web server"
    STRANGE = "something that is no Kafka"


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of one address."""

    address: Address
    outcome: Outcome
    resolved: tuple[str, ...] = ()
    """What the name means here."""
    detail: str = ""
    answer: MetadataResponse | None = None


def probe(address: Address, timeout_s: float) -> Probe:
    """Try `address`; each step may take `timeout_s`."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        return Probe(address, Outcome.UNKNOWN_NAME, detail=str(error))
    resolved = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    failures: list[Probe] = []
    for host in resolved:
        try:
            with socket.create_connection((host, address.port), timeout_s) as connection:
                found_out = _ask(connection, address, resolved, timeout_s)
            if found_out.outcome is Outcome.CLOSED and _takes_calls(host, address.port, timeout_s):
                return Probe(address, Outcome.CALLS, resolved)
            return found_out
        except ConnectionRefusedError as error:
            failures.append(Probe(address, Outcome.REFUSED, resolved, str(error)))
        except TimeoutError as error:
            failures.append(Probe(address, Outcome.SILENT_CONNECT, resolved, str(error)))
        except OSError as error:
            failures.append(Probe(address, Outcome.UNREACHABLE, resolved, str(error)))
    return failures[-1]


def is_loopback(resolved: tuple[str, ...]) -> bool:
    """Whether everything that a name means is this machine itself."""
    return bool(resolved) and all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in resolved)


def _ask(connection: socket.socket, address: Address, resolved: tuple[str, ...], timeout_s: float) -> Probe:
    connection.settimeout(timeout_s)
    heard = b""
    try:
        connection.sendall(_request())
        heard = _receive(connection, 9)
        (size,) = struct.unpack_from(">i", heard)
        if heard[4:8] == struct.pack(">i", _CORRELATION_ID) and 4 <= size <= ANSWER_BYTES_MAX:
            body = heard[8:] + _receive(connection, size + 4 - len(heard))
            answer = decode(MetadataResponse, memoryview(body), VERSION, flexible=False)
            return Probe(address, Outcome.OK, resolved, answer=answer)
        return Probe(address, _recognized(heard), resolved, detail=_shown(heard))
    except TimeoutError:
        return Probe(address, Outcome.SILENT, resolved)
    except ProtocolError as error:
        return Probe(address, Outcome.STRANGE, resolved, detail=str(error))
    except (OSError, struct.error):
        return Probe(address, Outcome.CLOSED, resolved)


def _takes_calls(host: str, port: int, timeout_s: float) -> bool:
    """Whether somebody there speaks HTTP/2."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(HTTP2_PREFACE + _NO_SETTINGS)
            return _recognized(_receive(connection, 9)) is Outcome.CALLS
    except OSError:
        return False


def _request() -> bytes:
    header = struct.pack(">hhih", ApiKey.METADATA, VERSION, _CORRELATION_ID, len(_CLIENT_ID)) + _CLIENT_ID
    request = MetadataRequest(topics=(), allow_auto_topic_creation=False)
    frame = header + encode(request, VERSION, flexible=False)
    return struct.pack(">i", len(frame)) + frame


def _receive(connection: socket.socket, count: int) -> bytes:
    """Raises `ConnectionError` where the other side ends first with nothing said; else what there is."""
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            if len(data) < 5:
                raise ConnectionResetError
            return data
        data += piece
    return data


def _recognized(heard: bytes) -> Outcome:
    if (
        len(heard) == 9 and heard[3] == _HTTP2_SETTINGS and heard[5:9] == bytes(4)
    ):  # a SETTINGS frame of stream 0 comes first (RFC 9113)
        return Outcome.CALLS
    if heard[0] in (_TLS_ALERT, _TLS_HANDSHAKE) and heard[1] == 3:
        return Outcome.TLS
    return Outcome.WEB if heard.startswith(b"HTTP/") else Outcome.STRANGE


def _shown(heard: bytes) -> str:
    return f"it began with {heard[:9]!r}"
