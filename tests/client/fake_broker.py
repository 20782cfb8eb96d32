"""A cluster in memory that speaks the Client and Admin services: real protobuf bytes, faults on command.

`FakeCluster` implements the transport port. Partitions are lists of batches with offsets assigned; producers' sequences
are checked as a broker checks them (the last five batches are remembered). Every node serves metadata; only a
partition's leader appends and reads.

Faults: `fail_next` queues errors for produce, `refuse_fetches` for fetch, `lose_answers` lets a request take effect and
its answer vanish, `break_streams` cuts produce streams, `down` nodes refuse, `silent` ones swallow, `move_leader` acts.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from broker.replication.truncation import EpochEnd, diverging_end
from kraftpy.error_codes import code_of, error_for
from kraftpy.errors import (
    DuplicateSequenceError,
    FencedLeaderEpochError,
    InvalidPartitionsError,
    InvalidProducerEpochError,
    KraftpyError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceError,
    RecordTooLargeError,
    TopicAlreadyExistsError,
    UnknownLeaderEpochError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import admin_pb2, client_pb2
from kraftpy.record import Record, check_batch, decode_batch, patch, read_header
from kraftpy.runtime.ports import Address, Methods, OpenHandler, RemoteFailure, Server, TransportTimeout, Unreachable


class TestClock:
    """The loop's time; the wall clock begins at a fixed moment."""

    __test__ = False
    __slots__ = ()

    def monotonic_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1_000)

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self.monotonic_ms() % 1_000_000


@dataclass
class ProducerEntry:
    epoch: int
    last_sequence: int
    recent: deque[tuple[int, int, int]]  # (base sequence, last sequence, base offset)


@dataclass
class FakePartition:
    leader: int
    leader_epoch: int = 1
    batches: list[bytes] = field(default_factory=list)
    end_offset: int = 0
    start_offset: int = 0
    high_watermark_held_at: int | None = None
    producers: dict[int, ProducerEntry] = field(default_factory=dict)
    fail_next: deque[tuple[type[KraftpyError], bool]] = field(default_factory=deque)  # (error, written all the same)
    refuse_fetches: deque[type[KraftpyError]] = field(default_factory=deque)  # of the next fetches
    lookups_take_s: float = 0

    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in decode_batch(batch)]

    def cut(self, end_offset: int) -> None:
        """As an unclean election does; whoever has fetched beyond it is told."""
        self.batches, self.end_offset = self.batches[:end_offset], end_offset  # of one record each
        self.producers.clear()

    def diverging(self, last_fetched_epoch: int, offset: int) -> EpochEnd | None:
        starts: dict[int, int] = {}
        for header in map(read_header, self.batches):
            starts.setdefault(header.leader_epoch, header.base_offset)
        return diverging_end(list(starts.items()), self.end_offset, last_fetched_epoch, offset)

    @property
    def high_watermark(self) -> int:
        return self.end_offset if self.high_watermark_held_at is None else self.high_watermark_held_at


class FakeCluster:
    """Nodes 1..n at 10.0.0.<id>:9093, topics, and the transport to them."""

    def __init__(self, nodes: int = 3, *, seed: int = 1) -> None:
        self.nodes = {node_id: Address(f"10.0.0.{node_id}", 9093) for node_id in range(1, nodes + 1)}
        self.topics: dict[str, list[FakePartition]] = {}
        self.topic_ids: dict[str, bytes] = {}
        self.down: set[int] = set()
        self.silent: set[int] = set()
        self.auto_create_partitions = 0
        self.max_message_bytes = 1_048_588
        self.lose_answers = 0  # of produce, from now on
        self.latency_s: Callable[[], float] = lambda: 0.0
        self.stream_holds_s = 0.0  # how long a stream has what it was given before it goes out, unless it is closed
        self.hints = True
        self.log_append_time_ms = -1
        self.requests: list[tuple[int, str]] = []
        self.produced: list[client_pb2.ProduceRequest] = []
        self.next_producer_id = 1_000
        self.controller = 1
        self.admin_failures: deque[type[KraftpyError]] = deque()
        self.configs: dict[tuple[int, str], dict[str, str]] = {}
        self.streams: list[FakeStream] = []
        self.random = Random(seed)
        self.on_produce: Callable[[client_pb2.ProduceRequest, str, int, bytes], None] = lambda *_: None
        self.services: Callable[[int], Methods] | None = None  # further methods of a node; see `fake_groups`
        self._changed: list[asyncio.Future[None]] = []

    @property
    def bootstrap(self) -> str:
        return ",".join(str(address) for address in self.nodes.values())

    # --- what tests do

    def create(self, topic: str, partitions: int = 1) -> None:
        ids = list(self.nodes)
        self.topics[topic] = [FakePartition(ids[index % len(ids)]) for index in range(partitions)]
        self.topic_ids[topic] = (len(self.topic_ids) + 1).to_bytes(16, "big")

    def partition(self, topic: str, partition: int = 0) -> FakePartition:
        return self.topics[topic][partition]

    def values(self, topic: str, partition: int = 0) -> list[bytes]:
        return [record.value or b"" for record in self.partition(topic, partition).records()]

    def move_leader(self, topic: str, partition: int, to: int) -> None:
        place = self.partition(topic, partition)
        place.leader, place.leader_epoch = to, place.leader_epoch + 1
        self.touch()

    def break_streams(self) -> None:
        for stream in list(self.streams):
            stream.snap()

    def touch(self) -> None:
        """Wake parked fetches."""
        waiters, self._changed = self._changed, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # --- the transport port

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        node_id = self._node_at(address)
        self.requests.append((node_id, method.rpartition("/")[2]))
        await self._reach(node_id, timeout_ms)
        handler = self._handler(node_id, method)
        if handler is None:
            raise RemoteFailure(f"{method}: unimplemented")
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                answer = await handler(node_id, request)
                await self._reach(node_id, timeout_ms)
                return answer
        except TimeoutError:
            raise TransportTimeout(f"{address} {method}") from None

    def _handler(self, node_id: int, method: str) -> Callable[[int, bytes], Awaitable[bytes]] | None:
        served = None if self.services is None else self.services(node_id).unary.get(method)
        if served is not None:
            handle = served
            return lambda _node_id, data: handle(data)
        return getattr(self, "_" + method.rpartition("/")[2], None)

    async def open_stream(self, address: Address, method: str) -> "FakeStream":
        assert method == "/kraftpy.pb.Client/Produce"
        stream = FakeStream(self, self._node_at(address))
        self.streams.append(stream)
        return stream

    async def serve(self, address: Address, methods: Methods, strangers: OpenHandler | None = None) -> Server:
        raise OSError("the fake serves by itself")

    async def close(self) -> None:
        self.break_streams()

    def _node_at(self, address: Address) -> int:
        return next((node_id for node_id, known in self.nodes.items() if known == address), 0)

    async def _reach(self, node_id: int, timeout_ms: int) -> None:
        delay_s = self.latency_s()
        await asyncio.sleep(delay_s)
        if node_id == 0 or node_id in self.down:
            raise Unreachable(f"node {node_id} refuses")
        if node_id in self.silent:
            await asyncio.sleep(timeout_ms / 1_000)
            raise TransportTimeout(f"node {node_id} is silent")

    # --- Client

    async def _GetMetadata(self, node_id: int, data: bytes) -> bytes:
        request = client_pb2.MetadataRequest.FromString(data)
        answer = client_pb2.MetadataResponse(cluster_id="fake", controller_id=self.controller)
        for known, address in self.nodes.items():
            if known not in self.down:
                answer.brokers.add(id=known, host=address.host, port=address.port)
        for name in self.topics if request.all_topics else request.topics:
            if name not in self.topics and request.allow_auto_topic_creation and self.auto_create_partitions:
                self.create(name, self.auto_create_partitions)
            info = answer.topics.add(name=name)
            if name not in self.topics:
                info.error = code_of(UnknownTopicOrPartitionError)
                continue
            info.topic_id = self.topic_ids[name]
            for index, place in enumerate(self.topics[name]):
                info.partitions.add(
                    partition=index,
                    leader=-1 if place.leader in self.down else place.leader,
                    leader_epoch=place.leader_epoch,
                    replicas=list(self.nodes),
                    isr=[other for other in self.nodes if other not in self.down],
                )
        return answer.SerializeToString()

    async def _InitProducerId(self, node_id: int, data: bytes) -> bytes:
        self.next_producer_id += 1
        return client_pb2.InitProducerIdResponse(producer_id=self.next_producer_id).SerializeToString()

    async def _ListOffsets(self, node_id: int, data: bytes) -> bytes:
        answer = client_pb2.ListOffsetsResponse()
        for wanted in client_pb2.ListOffsetsRequest.FromString(data).partitions:
            listed = answer.partitions.add(topic=wanted.topic, partition=wanted.partition, offset=-1, timestamp_ms=-1)
            try:
                place = self._led(node_id, wanted.topic, wanted.partition, wanted.current_leader_epoch)
            except KraftpyError as error:
                listed.error = code_of(error)
                continue
            await asyncio.sleep(place.lookups_take_s)
            listed.leader_epoch = place.leader_epoch
            if wanted.timestamp_ms == -1:
                listed.offset = place.high_watermark
            elif wanted.timestamp_ms == -2:
                listed.offset = place.start_offset
            else:
                for record in place.records():
                    if record.timestamp_ms >= wanted.timestamp_ms:
                        listed.offset, listed.timestamp_ms = record.offset, record.timestamp_ms
                        break
        return answer.SerializeToString()

    async def _Fetch(self, node_id: int, data: bytes) -> bytes:
        request = client_pb2.FetchRequest.FromString(data)
        loop = asyncio.get_running_loop()
        ends = loop.time() + request.max_wait_ms / 1_000
        while True:
            answer, size, urgent = self._read(node_id, request)
            left = ends - loop.time()
            if size >= request.min_bytes or urgent or left < 0.001:
                return answer.SerializeToString()
            waiter: asyncio.Future[None] = loop.create_future()
            self._changed.append(waiter)
            await asyncio.wait([waiter], timeout=left)

    def _read(self, node_id: int, request: client_pb2.FetchRequest) -> tuple[client_pb2.FetchResponse, int, bool]:
        answer = client_pb2.FetchResponse()
        size, urgent = 0, False
        for wanted in request.partitions:
            part = answer.partitions.add(topic=wanted.topic, partition=wanted.partition, leader=-1)
            try:
                place = self._led(node_id, wanted.topic, wanted.partition, wanted.current_leader_epoch)
                if place.refuse_fetches:
                    raise place.refuse_fetches.popleft()
                diverging = place.diverging(wanted.last_fetched_epoch, wanted.offset)
                if diverging is None and not place.start_offset <= wanted.offset <= place.end_offset:
                    raise OffsetOutOfRangeError
            except KraftpyError as error:
                part.error, urgent = code_of(error), True
                self._hint(part, wanted.topic, wanted.partition)
                continue
            part.high_watermark, part.log_start_offset = place.high_watermark, place.start_offset
            if diverging is not None:
                part.diverging_epoch, part.diverging_end_offset = diverging
                urgent = True
                continue
            chosen: list[bytes] = []
            for batch in place.batches:
                header = read_header(batch)
                if header.end_offset <= wanted.offset or header.end_offset > place.high_watermark:
                    continue
                if chosen and sum(map(len, chosen)) + len(batch) > wanted.max_bytes:
                    break
                if size and size + len(batch) > request.max_bytes:
                    break
                chosen.append(batch)
                size += len(batch)
            part.records = b"".join(chosen)
        return answer, size, urgent

    def _led(self, node_id: int, topic: str, partition: int, epoch: int = -1) -> FakePartition:
        if topic not in self.topics or partition >= len(self.topics[topic]):
            raise UnknownTopicOrPartitionError
        place = self.topics[topic][partition]
        if place.leader != node_id:
            raise NotLeaderOrFollowerError
        if epoch >= 0 and epoch != place.leader_epoch:
            raise FencedLeaderEpochError if epoch < place.leader_epoch else UnknownLeaderEpochError
        return place

    def _hint(
        self, part: client_pb2.FetchedPartition | client_pb2.ProducedPartition, topic: str, partition: int
    ) -> None:
        if self.hints and topic in self.topics and partition < len(self.topics[topic]):
            place = self.topics[topic][partition]
            part.leader, part.leader_epoch = place.leader, place.leader_epoch

    def produce(self, node_id: int, request: client_pb2.ProduceRequest) -> client_pb2.ProduceResponse:
        self.produced.append(request)
        answer = client_pb2.ProduceResponse(correlation_id=request.correlation_id)
        for wanted in request.partitions:
            part = answer.partitions.add(
                topic=wanted.topic,
                partition=wanted.partition,
                base_offset=-1,
                log_append_time_ms=self.log_append_time_ms,
                leader=-1,
            )
            try:
                place = self._led(node_id, wanted.topic, wanted.partition)
                self.on_produce(request, wanted.topic, wanted.partition, wanted.records)
                part.base_offset = self._append(place, wanted.records)
            except KraftpyError as error:
                part.error = code_of(error)
                part.error_message = str(error)
                if isinstance(error, NotLeaderOrFollowerError):
                    self._hint(part, wanted.topic, wanted.partition)
        self.touch()
        return answer

    def _append(self, place: FakePartition, data: bytes) -> int:
        error, written = place.fail_next.popleft() if place.fail_next else (None, True)
        if error is not None and not written:
            raise error_for(code_of(error))
        if len(data) > self.max_message_bytes:
            raise RecordTooLargeError
        offset = self._append_checked(place, bytearray(data))
        if error is not None:
            raise error_for(code_of(error))
        return offset

    def _append_checked(self, place: FakePartition, data: bytearray) -> int:
        header = check_batch(data)
        if header.producer_id >= 0:
            entry = place.producers.get(header.producer_id)
            if entry is not None and header.producer_epoch < entry.epoch:
                raise InvalidProducerEpochError
            if entry is not None and header.producer_epoch == entry.epoch:
                for first, last, offset in entry.recent:
                    if first == header.base_sequence and last == header.last_sequence:
                        return offset
                if header.base_sequence != (entry.last_sequence + 1) % 2**31:
                    raise OutOfOrderSequenceError
            elif entry is not None and header.base_sequence != 0:
                raise OutOfOrderSequenceError
            if entry is None or entry.epoch != header.producer_epoch:
                entry = place.producers[header.producer_id] = ProducerEntry(header.producer_epoch, -1, deque(maxlen=5))
            entry.last_sequence = header.last_sequence
            entry.recent.append((header.base_sequence, header.last_sequence, place.end_offset))
        offset = place.end_offset
        patch(data, 0, offset, place.leader_epoch)
        place.batches.append(bytes(data))
        place.end_offset = offset + header.record_count
        return offset

    # --- Admin

    def _admin_failure(self) -> type[KraftpyError] | None:
        return self.admin_failures.popleft() if self.admin_failures else None

    async def _CreateTopics(self, node_id: int, data: bytes) -> bytes:
        failure = self._admin_failure()
        answer = admin_pb2.TopicResults()
        for topic in admin_pb2.CreateTopicsRequest.FromString(data).topics:
            result = answer.topics.add(name=topic.name)
            if failure is not None:
                result.error = code_of(failure)
            elif topic.name in self.topics:
                result.error = code_of(TopicAlreadyExistsError)
                result.error_message = f"Topic '{topic.name}' already exists."
            else:
                self.create(topic.name, topic.partitions if topic.partitions > 0 else 1)
                self.configs[2, topic.name] = dict(topic.config)
                result.topic_id = self.topic_ids[topic.name]
                result.partitions = len(self.topics[topic.name])
                result.replication_factor = max(topic.replication_factor, 1)
        return answer.SerializeToString()

    async def _DeleteTopics(self, node_id: int, data: bytes) -> bytes:
        answer = admin_pb2.TopicResults()
        for name in admin_pb2.DeleteTopicsRequest.FromString(data).names:
            result = answer.topics.add(name=name)
            if self.topics.pop(name, None) is None:
                result.error = code_of(UnknownTopicOrPartitionError)
        return answer.SerializeToString()

    async def _CreatePartitions(self, node_id: int, data: bytes) -> bytes:
        answer = admin_pb2.TopicResults()
        request = admin_pb2.CreatePartitionsRequest.FromString(data)
        for topic in request.topics:
            result = answer.topics.add(name=topic.name)
            places = self.topics.get(topic.name)
            if places is None:
                result.error = code_of(UnknownTopicOrPartitionError)
                continue
            if len(places) >= topic.total:
                result.error = code_of(InvalidPartitionsError)
                continue
            ids = list(self.nodes)
            while len(places) < topic.total and not request.validate_only:
                places.append(FakePartition(ids[len(places) % len(ids)]))
            result.partitions = len(places)
        return answer.SerializeToString()

    async def _DeleteRecords(self, node_id: int, data: bytes) -> bytes:
        answer = admin_pb2.DeleteRecordsResponse()
        for wanted in admin_pb2.DeleteRecordsRequest.FromString(data).partitions:
            result = answer.partitions.add(topic=wanted.topic, partition=wanted.partition, low_watermark=-1)
            try:
                place = self._led(node_id, wanted.topic, wanted.partition)
            except KraftpyError as error:
                result.error = code_of(error)
                continue
            if wanted.before_offset > place.high_watermark:
                result.error = code_of(OffsetOutOfRangeError)
                continue
            place.start_offset = place.high_watermark if wanted.before_offset < 0 else wanted.before_offset
            place.batches = [batch for batch in place.batches if check_batch(batch).end_offset > place.start_offset]
            result.low_watermark = place.start_offset
        return answer.SerializeToString()

    async def _DescribeConfigs(self, node_id: int, data: bytes) -> bytes:
        answer = admin_pb2.DescribeConfigsResponse()
        for resource in admin_pb2.DescribeConfigsRequest.FromString(data).resources:
            part = answer.resources.add()
            part.resource.CopyFrom(resource)
            if resource.type == 2 and resource.name not in self.topics:
                part.error = code_of(UnknownTopicOrPartitionError)
                continue
            known = {"min.insync.replicas": "1"}
            part.entries.add(name="min.insync.replicas", value=known["min.insync.replicas"], source="default")
            for name, value in self.configs.get((resource.type, resource.name), {}).items():
                if name in known:
                    part.entries[0].value, part.entries[0].source = value, "dynamic-topic"
                else:
                    part.entries.add(name=name, value=value, source="dynamic-topic")
        return answer.SerializeToString()

    async def _AlterConfigs(self, node_id: int, data: bytes) -> bytes:
        answer = admin_pb2.AlterConfigsResponse()
        for change in admin_pb2.AlterConfigsRequest.FromString(data).resources:
            answer.resources.add().resource.CopyFrom(change.resource)
            known = self.configs.setdefault((change.resource.type, change.resource.name), {})
            known.update(change.set)
            for name in change.unset:
                known.pop(name, None)
        return answer.SerializeToString()

    async def _ElectLeaders(self, node_id: int, data: bytes) -> bytes:
        answer = admin_pb2.ElectLeadersResponse()
        for wanted in admin_pb2.ElectLeadersRequest.FromString(data).partitions:
            answer.partitions.add(topic=wanted.topic, partition=wanted.partition)
        return answer.SerializeToString()

    async def _DescribeCluster(self, node_id: int, data: bytes) -> bytes:
        answer = admin_pb2.DescribeClusterResponse(cluster_id="fake", controller_id=self.controller, metadata_offset=7)
        for known, address in self.nodes.items():
            answer.brokers.add(id=known, host=address.host, port=address.port, fenced=known in self.down)
        answer.features["metadata.version"] = 1
        return answer.SerializeToString()

    async def _DescribeQuorum(self, node_id: int, data: bytes) -> bytes:
        answer = admin_pb2.DescribeQuorumResponse(leader_id=self.controller, leader_epoch=3, high_watermark=7)
        for known, address in self.nodes.items():
            directory_id = UUID(int=known).bytes
            answer.voters.add(
                node_id=known, directory_id=directory_id, host=address.host, port=address.port, log_end_offset=7
            )
        return answer.SerializeToString()

    async def _TransferQuorumLeadership(self, node_id: int, data: bytes) -> bytes:
        wanted = admin_pb2.TransferQuorumLeadershipRequest.FromString(data).to
        self.controller = wanted if wanted > 0 else self.controller % len(self.nodes) + 1
        return admin_pb2.TransferQuorumLeadershipResponse().SerializeToString()


class FakeStream:
    """One Produce stream to one node. Answers may overtake each other where latency differs."""

    def __init__(self, cluster: FakeCluster, node_id: int) -> None:
        self._cluster = cluster
        self._node_id = node_id
        self._answers: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._snapped = False
        self._held: deque[Callable[[], None]] = deque()
        self._has_ended = False

    def snap(self) -> None:
        """The connection breaks."""
        self._snapped = True
        self._held.clear()
        self._answers.put_nowait(None)
        if self in self._cluster.streams:
            self._cluster.streams.remove(self)

    async def send(self, message: bytes) -> None:
        cluster = self._cluster
        await asyncio.sleep(cluster.latency_s())
        if self._snapped or self._node_id == 0 or self._node_id in cluster.down:
            raise Unreachable(f"node {self._node_id} refuses")
        if self._node_id in cluster.silent:
            return
        self._go_out(lambda: self._arrive(message))

    async def end_sending(self) -> None:
        self._go_out(self._end)

    def _go_out(self, arrive: Callable[[], None]) -> None:
        held_s = self._cluster.stream_holds_s
        self._held.append(arrive)
        if held_s:
            asyncio.get_running_loop().call_later(held_s, self._let_out)
        else:
            self._let_out()

    def _let_out(self) -> None:
        if self._held:
            self._held.popleft()()

    def _end(self) -> None:
        if self._node_id not in self._cluster.silent:
            self._has_ended = True
            self._answers.put_nowait(None)

    def _arrive(self, message: bytes) -> None:
        cluster = self._cluster
        request = client_pb2.ProduceRequest.FromString(message)
        answer = cluster.produce(self._node_id, request)
        if cluster.lose_answers > 0:
            cluster.lose_answers -= 1
            self.snap()
        elif request.acks != 0:
            asyncio.get_running_loop().call_later(
                cluster.latency_s(), self._answers.put_nowait, answer.SerializeToString()
            )

    async def receive(self) -> bytes | None:
        answer = await self._answers.get()
        if answer is None and self._has_ended and not self._snapped:
            return None
        if answer is None or self._snapped or self._node_id in self._cluster.down:
            raise Unreachable(f"node {self._node_id}: the connection broke")
        return answer

    def close(self) -> None:
        self.snap()


__all__ = ["DuplicateSequenceError", "FakeCluster", "FakePartition", "TestClock"]
