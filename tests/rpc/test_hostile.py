"""Whatever can be written down as a request is answered or refused, never a failure of the node.

Every method gets requests whose fields are extreme, nonsense, or almost right; a handler that fails fails the run.
"""

import asyncio
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from broker.controller.commands import CreateTopics, NewTopic
from kraftpy.pb import admin_pb2, client_pb2
from kraftpy.pb.client_pb2 import ProduceRequest
from kraftpy.runtime.ports import Address, RemoteFailure, TransportError
from tests.replication.cluster import CALLS_PORT, TOPIC
from tests.rpc.cluster import Bed, play

METHODS: dict[str, type[Message]] = {
    "Client/GetMetadata": client_pb2.MetadataRequest,
    "Client/Fetch": client_pb2.FetchRequest,
    "Client/ListOffsets": client_pb2.ListOffsetsRequest,
    "Client/InitProducerId": client_pb2.InitProducerIdRequest,
    "Admin/CreateTopics": admin_pb2.CreateTopicsRequest,
    "Admin/DeleteTopics": admin_pb2.DeleteTopicsRequest,
    "Admin/CreatePartitions": admin_pb2.CreatePartitionsRequest,
    "Admin/DeleteRecords": admin_pb2.DeleteRecordsRequest,
    "Admin/DescribeConfigs": admin_pb2.DescribeConfigsRequest,
    "Admin/AlterConfigs": admin_pb2.AlterConfigsRequest,
    "Admin/ElectLeaders": admin_pb2.ElectLeadersRequest,
    "Admin/DescribeCluster": admin_pb2.DescribeClusterRequest,
    "Admin/DescribeQuorum": admin_pb2.DescribeQuorumRequest,
    "Admin/TransferQuorumLeadership": admin_pb2.TransferQuorumLeadershipRequest,
}
WORDS = [
    "",
    TOPIC,
    TOPIC,
    "other",
    "nothing",
    "no good",
    "..",
    "x" * 300,
    "\0",
    "é",
    "1",
    "-1",
    "9" * 40,
    "retention.ms",
]
WORDS += ["min.insync.replicas", "log.roll.ms", "cleanup.policy", "compact", "²"]

_LIKELY: dict[str, tuple[Any, ...]] = {  # so that much comes as far as the replicas
    "topic": (TOPIC,),
    "partition": (0, 1),
    "offset": (0, 1, 2, 3),
    "current_leader_epoch": (-1, 0),
    "last_fetched_epoch": (-1, 0),
    "acks": (-1, 0, 1),
    "max_bytes": (1, 1 << 20),
}


class Hostile:
    """Fills messages by their descriptors."""

    def __init__(self, random: Random, batch: bytes) -> None:
        self._random = random
        torn = bytearray(batch)
        torn[len(torn) // 2] ^= 0x40
        self._bytes = [b"", b"\0", batch, batch, batch + batch, batch[:-1], batch + b"\0", bytes(torn), bytes(200)]

    def fill(self, message: Message) -> Message:
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < 0.15:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                for _ in range(self._random.randrange(3)):
                    getattr(message, field.name)[self._random.choice(WORDS)] = self._random.choice(WORDS)
            elif hasattr(getattr(message, field.name), "extend"):  # repeated
                self._fill_list(message, field)
            elif field.message_type is not None:
                self.fill(getattr(message, field.name))
            else:
                setattr(message, field.name, self._value(field))
        return message

    def _fill_list(self, message: Message, field: Any) -> None:
        items = getattr(message, field.name)
        for _ in range(self._random.choice((0, 1, 1, 2, 3))):
            if field.message_type is not None:
                self.fill(items.add())
            else:
                items.append(self._value(field))

    def _value(self, field: Any) -> Any:
        random = self._random
        if field.name == "max_wait_ms":
            return random.choice((-(2**31), -1, 0, 5))  # what waits long is no test of sense
        if field.name in _LIKELY and random.random() < 0.7:
            return random.choice(_LIKELY[field.name])
        match field.type:
            case FieldDescriptor.TYPE_STRING:
                return random.choice(WORDS)
            case FieldDescriptor.TYPE_BYTES:
                return random.choice(self._bytes)
            case FieldDescriptor.TYPE_BOOL:
                return random.random() < 0.5
            case FieldDescriptor.TYPE_INT32:
                return random.choice((-(2**31), -2, -1, 0, 0, 1, 2, 3, 4, 1_000, 2**31 - 1))
            case FieldDescriptor.TYPE_INT64:
                return random.choice((-(2**63), -2, -1, 0, 0, 1, 2, 1_000, 2**31, 2**63 - 1))
        raise AssertionError(f"no idea what {field.full_name} could be")


async def besiege(bed: Bed, seed: int) -> None:
    random = Random(seed)
    hostile = Hostile(random, bytes(bed.cluster.batch(2)))
    for _ in range(150):
        name = random.choice(list(METHODS))
        node_id = random.choice((1, 2, 3))
        request = hostile.fill(METHODS[name]())
        data = request.SerializeToString()
        if random.random() < 0.1:
            data = data[: random.randrange(len(data) + 1)] + random.randbytes(random.randrange(5))
        address = Address(f"n{node_id}", CALLS_PORT)
        try:
            await bed.ports.transport.call(address, "/kraftpy.pb." + name, data, 20_000)
        except RemoteFailure as refused:
            assert "INVALID_ARGUMENT" in str(refused), (name, request, refused)
        if bed.cluster.controller.image.topic(TOPIC) is None:
            await bed.controller.submit(CreateTopics((NewTopic(TOPIC, 2, 3),)))
    for node_id in (1, 2, 3) * 8:
        stream = await bed.ports.transport.open_stream(Address(f"n{node_id}", CALLS_PORT), "/kraftpy.pb.Client/Produce")
        try:
            for _ in range(5):
                await stream.send(hostile.fill(ProduceRequest()).SerializeToString())
            await asyncio.sleep(0.2)
            if random.random() < 0.5:
                await stream.send(b"\xff" * 20)
                while await stream.receive() is not None:
                    pass
        except TransportError:
            pass  # the stream has ended over something, as it may
        stream.close()


def test_nothing_that_can_be_asked_breaks_a_node() -> None:
    async def story(bed: Bed) -> None:
        await besiege(bed, bed.world.seed)
        async with bed.producer() as producer, bed.admin() as admin:  # and it still serves
            await admin.create_topic("afterwards")
            await (await producer.send("afterwards", b"fine"))

    for seed in range(1, 7):
        play(story, seed)
