"""The Kafka door of one node, asked over the wire, with a real controller and pretended replicas behind it."""

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from broker.config import NodeConfig
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.door import KafkaDoor
from broker.kafka.endpoints import AdvertisedEndpoint
from broker.kafka.messages.create_topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from broker.kafka.schema import Structure, decode, encode
from broker.replication.directory_status import DirectoryStatus, ReplicaInDirectory
from kraftpy.error_codes import class_for
from kraftpy.errors import CoordinatorNotAvailableError, KraftpyError
from kraftpy.runtime.ports import Address
from log_store.leader_epochs import LeaderEpochs
from log_store.producer_state import ProducerEntry
from tests.kafka.fake_replicas import join
from tests.rpc.test_controller_admin import Node

PEER = Address("127.0.0.1", 5)
WALL_MS = 1_000_000


class Bed:
    """The door of one node of three, with a real controller behind it."""

    def __init__(self) -> None:
        self.node = Node()
        self.controller_error: KraftpyError | None = None
        self.replica_error: KraftpyError | None = None
        self.id_error: KraftpyError | None = None
        self.producers: list[ProducerEntry] = []
        door = KafkaDoor(
            view=self._any(self.node),
            config=NodeConfig(node_id=1),
            replicas=self._any(self),
            creation=self._any(None),
            producer_ids=self._any(self),
            link=self._any(self),
            transport=self._any(None),
            clock=self._any(self),
            finder=self._any(SimpleNamespace(find=None)),
            groups=self._any(None),
            transactions=self._any(self),
        )
        self._apis = {api.key: api for api in door.apis(self.endpoint_of)}

    @staticmethod
    def _any(value: Any) -> Any:
        return value

    def ask(
        self,
        key: ApiKey,
        request: Structure,
        version: int | None = None,
        beside: Coroutine[Any, Any, None] | None = None,
    ) -> Any:
        """The answer, in the newest version unless told otherwise, over the wire and back. `beside`: runs meanwhile."""
        api = self._apis[key]
        return self.ask_of(api, request, api.version_max if version is None else version, beside)

    @staticmethod
    def ask_of(api: Api, request: Structure, version: int, beside: Coroutine[Any, Any, None] | None = None) -> Any:
        flexible = version >= api.flexible_from
        body = memoryview(encode(request, version, flexible=flexible))

        async def answered() -> bytes:
            running = None if beside is None else asyncio.create_task(beside)
            answer = join(await api.handler(Request(version, 1, "c", PEER, body)))
            if running is not None:
                running.cancel()
            return answer

        data = asyncio.run(answered())
        assert api.response is not None
        return decode(api.response, data, version, flexible=flexible)

    def create(self, *names: str, partitions: int = 1) -> list[UUID]:
        topics = tuple(wanted(name, partitions) for name in names)
        return [each.topic_id for each in self.ask(ApiKey.CREATE_TOPICS, CreateTopicsRequest(topics=topics)).topics]

    # --- what stands behind the door

    @staticmethod
    def endpoint_of(broker_id: int) -> AdvertisedEndpoint:
        return AdvertisedEndpoint(broker_id, f"n{broker_id}", 9092)

    async def run(self, method: str, payload: bytes, timeout_ms: int) -> bytes:
        if self.controller_error is not None:
            raise self.controller_error
        return await self.node.admin.run(method, payload)

    async def next(self) -> int:
        if self.id_error is not None:
            raise self.id_error
        return 4_711

    async def submit(self, transactional_id: str, command: Any) -> Any:
        raise CoordinatorNotAvailableError("no coordinator of transactions runs here")

    def wall_ms(self) -> int:
        return WALL_MS

    async def delete_records(self, topic: str, partition: int, before_offset: int, timeout_ms: int) -> int:
        if self.replica_error is not None:
            raise self.replica_error
        return before_offset

    def partition(self, topic: str, partition: int) -> Any:
        def lead_as(epoch: int) -> SimpleNamespace:
            if self.replica_error is not None:
                raise self.replica_error
            return SimpleNamespace(leader_epoch=3, epoch_start_offset=99)

        log = SimpleNamespace(epochs=LeaderEpochs(), end_offset=99)
        return SimpleNamespace(lead_as=lead_as, log=log)

    async def wait_leaders_known(self) -> None:
        return

    def describe_producers(self, topic: str, partition: int) -> list[ProducerEntry]:
        if self.replica_error is not None:
            raise self.replica_error
        return self.producers

    async def describe_directories(self, topics: Any = ()) -> list[DirectoryStatus]:
        replicas = (ReplicaInDirectory("a", 0, 10, 0), ReplicaInDirectory("a", 1, 20, 3, True))
        return [DirectoryStatus("/data", None, "", 100, 50, replicas), DirectoryStatus("/gone", None, "it failed")]


def wanted(name: str, partitions: int = 1, replication_factor: int = 1, **settings: str | None) -> CreatableTopic:
    configs = tuple(CreatableTopicConfig(name=key.replace("_", "."), value=each) for key, each in settings.items())
    return CreatableTopic(
        name=name, partitions=partitions, replication_factor=replication_factor, assignments=(), configs=configs
    )


def classes(results: Any) -> list[type[KraftpyError] | None]:
    return [class_for(each.error) if each.error else None for each in results]
