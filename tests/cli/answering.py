"""Listeners that answer as a test likes, rightly or wrongly."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from broker.kafka.messages.metadata import KnownBroker, MetadataResponse
from broker.kafka.schema import encode
from cli.doctor.probing import VERSION
from kraftpy.runtime.ports import Address

Answer = Callable[[socket.socket], None]


@contextmanager
def listening(answer: Answer) -> Iterator[Address]:
    """A listener that does `answer` with whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        answer(connection)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Address("127.0.0.1", server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def saying(data: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.recv(1_000)
        connection.sendall(data)

    return answer


def telling(brokers: list[Address], cluster_id: str = "c") -> Answer:
    """A Kafka that tells clients to connect to `brokers`."""

    def answer(connection: socket.socket) -> None:
        correlation_id = connection.recv(1_000)[8:12]
        known = tuple(KnownBroker(broker_id=at, host=each.host, port=each.port) for at, each in enumerate(brokers))
        response = MetadataResponse(brokers=known, cluster_id=cluster_id, controller_id=0, topics=())
        frame = correlation_id + encode(response, VERSION, flexible=False)
        connection.sendall(struct.pack(">i", len(frame)) + frame)

    return answer


def closed_port() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address("127.0.0.1", server.getsockname()[1])
