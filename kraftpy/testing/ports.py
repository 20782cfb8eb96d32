"""Ports that stay one cluster's own while its nodes come and go.

A reservation is a socket that is bound but does not listen. The system gives its port to nobody who asks for a free
one, a connection to it is refused as long as no node listens, and a node can still bind it, because both sides set
SO_REUSEADDR and only one of them listens. So nothing is guessed, and no other process slips in between two lives of a
node.
"""

import socket
from typing import Self


class ReservedPort:
    """A port of the loopback interface, kept until `release`: `number`, or any that is free.

    Raises `OSError` (EADDRINUSE) where somebody listens on `number`.
    """

    def __init__(self, number: int = 0, host: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((host, number))
        except BaseException:
            self._socket.close()
            raise
        self.host = host
        self.number: int = self._socket.getsockname()[1]

    def __str__(self) -> str:
        return f"{self.host}:{self.number}"

    def release(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
