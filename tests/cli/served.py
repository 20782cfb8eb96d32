"""The fake cluster of the client's tests behind real gRPC on loopback, served from a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.client.fake_broker import FakeCluster
from tests.client.grpc_cluster import GrpcCluster

T = TypeVar("T")


class ServedCluster:
    """Three nodes that a command can be pointed at: `served.cluster.bootstrap`."""

    def __init__(self, with_groups: Callable[[FakeCluster], Any] | None = None) -> None:
        self.cluster = FakeCluster(3)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        if with_groups is not None:

            async def begin() -> Any:
                return with_groups(self.cluster)

            self.groups = self.run(begin())
        self._servers = GrpcCluster(self.cluster)
        self.run(self._servers.__aenter__())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def stop_node(self, node_id: int) -> None:
        self.run(self._servers.stop(node_id))

    def close(self) -> None:
        self.run(self._servers.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
