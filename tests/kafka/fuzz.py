"""Throws frames at the Kafka door: every API in every version, right, nearly right, and wrong (`make fuzz`).

    python -m tests.kafka.fuzz --frames 1000000 --seed 7

A frame is a random request of a random version, as its schema writes it, and then perhaps damaged: bits flipped, cut
off, gone on, a length made huge, or nothing but noise. It goes through the router to the real handlers, behind which
stand a real controller and replicas that refuse at random. Every hundredth goes to a real listener in random pieces.

Whatever comes, a frame is answered with a message that its schema reads back to the last byte, or its connection is
closed by a `ProtocolError`. Anything else is a bug, and is told with the frame and the seed. Memory is watched: what is
alive after a round is no more than before it.
"""

import argparse
import asyncio
import logging
import resource
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from broker.config import NodeConfig
from broker.coordinator.core import Moment
from broker.coordinator.group_coordinators import KnownTopics
from broker.coordinator.groups.config import GroupConfig
from broker.coordinator.groups.core import GroupCore
from broker.kafka.api import Api, ApiKey
from broker.kafka.api_versions import ApiVersions
from broker.kafka.door import KafkaDoor
from broker.kafka.router import Router
from broker.kafka.schema import decode, encode
from broker.kafka.wire import ProtocolError
from broker.metadata.features import GROUP_VERSION
from broker.metadata.image import MetadataImage
from broker.metadata.records import FeatureLevelRecord
from broker.replication.fetch_types import FetchAnswer, FetchedPartition, FoundOffset
from broker.replication.producing import Produced
from kraftpy import errors
from kraftpy.errors import KraftpyError
from kraftpy.runtime.framed_config import FramedConfig
from kraftpy.runtime.framed_transport import TcpFramedTransport
from kraftpy.runtime.ports import Address, FrameParts, TransportError
from log_store.leader_epochs import LeaderEpochs
from tests.kafka.cluster_view import Creation, View
from tests.kafka.fake_replicas import join
from tests.kafka.fuzzed_transactions import FuzzedTransactions
from tests.kafka.random_messages import random_message
from tests.kafka.request_schemas import ApiVersionsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest
from tests.rpc.test_controller_admin import Node
from tests.tools.stepped_clock import SteppedClock

ROUND_FRAMES = 2_000
"""Then the controller is a new one, or its topics would be too many."""
SOCKET_SHARE = 100
PEER = Address("192.0.2.1", 5)
REFUSALS: Sequence[type[KraftpyError]] = (
    errors.NotControllerError,
    errors.NotLeaderOrFollowerError,
    errors.UnknownTopicOrPartitionError,
    errors.KafkaStorageError,
    errors.RequestTimedOutError,
)
COORDINATOR_REFUSALS: Sequence[type[KraftpyError]] = (
    errors.NotCoordinatorError,
    errors.CoordinatorNotAvailableError,
    errors.CoordinatorLoadInProgressError,
)
BY_HAND = {
    ApiKey.PRODUCE: ProduceRequest,
    ApiKey.FETCH: FetchRequest,
    ApiKey.LIST_OFFSETS: ListOffsetsRequest,
    ApiKey.API_VERSIONS: ApiVersionsRequest,
}


class Refusing:
    """Replicas and everything else behind the door, which refuse about as often as they do what is asked."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._node = Node()

    def _perhaps_refuse(self) -> None:
        if self._random.random() < 0.4:
            raise self._random.choice(REFUSALS)("said by the fuzzer")

    async def run(self, method: str, payload: bytes, timeout_ms: int) -> bytes:
        self._perhaps_refuse()
        return await self._node.admin.run(method, payload)

    async def produce(self, batches: Any, acks: int, timeout_ms: int, transaction: Any = None) -> list[Produced]:
        return [Produced(topic, index, errors.CorruptRecordError("no")) for topic, index, _ in batches]

    async def fetch(self, query: Any) -> FetchAnswer:
        return FetchAnswer([FetchedPartition(target, self._random.choice(REFUSALS)) for target in query.partitions])

    async def list_offsets(self, query: Any) -> list[FoundOffset]:
        return [FoundOffset(target, None, 5, 6, 7) for target in query.partitions]

    async def wait_leaders_known(self) -> None:
        return

    async def delete_records(self, topic: str, partition: int, before_offset: int, timeout_ms: int) -> int:
        self._perhaps_refuse()
        return 7

    def partition(self, topic: str, partition: int) -> Any:
        self._perhaps_refuse()
        leadership = SimpleNamespace(leader_epoch=3, epoch_start_offset=9)
        log = SimpleNamespace(epochs=LeaderEpochs(), end_offset=9)
        return SimpleNamespace(lead_as=lambda epoch: leadership, log=log)

    def describe_producers(self, topic: str, partition: int) -> list[Any]:
        self._perhaps_refuse()
        return []

    async def describe_directories(self, topics: Any = ()) -> list[Any]:
        return []

    def move_replica(self, topic: str, partition: int, path: str) -> None:
        self._perhaps_refuse()

    async def next(self) -> int:
        self._perhaps_refuse()
        return 77

    async def find(self, kind: Any, key: str) -> int:
        self._perhaps_refuse()
        return 1

    async def call(self, address: Address, method: str, request: bytes, timeout_ms: int) -> bytes:
        raise TransportError("nobody is there")

    def wall_ms(self) -> int:
        return 1_700_000_000_000


class FuzzedGroups:
    """Coordinators of groups without a log, whose members wait for nobody: what is not answered at once is refused."""

    def __init__(self, random: Random, image: Callable[[], MetadataImage]) -> None:
        self._core = GroupCore(GroupConfig(initial_rebalance_delay_ms=0), random, KnownTopics(image))
        self._random = random
        self._now_ms = 0
        self._tickets = 0
        self._core.loaded(self._now())

    async def listed(self, command: Any) -> list[Any]:
        return list(await self.submit("", command))

    async def submit(self, key: str, command: Any) -> Any:
        if self._random.random() < 0.2:
            raise self._random.choice(COORDINATOR_REFUSALS)("said by the fuzzer")
        self._tickets += 1
        self._accept(self._core.tick(self._now()), None)
        answers = self._accept(self._core.handle(self._tickets, command, self._now()), self._tickets)
        if not answers:
            raise errors.RebalanceInProgressError("the fuzzer waits for nobody")
        if isinstance(answers[0], KraftpyError):
            raise answers[0]
        return answers[0]

    def _accept(self, result: Any, ticket: int | None) -> list[Any]:
        for record in result.records:
            self._core.replay(record, result.producer)
        return [answer.response for answer in result.answers if answer.ticket == ticket]

    def _now(self) -> Moment:
        self._now_ms += self._random.randrange(50)
        return Moment(self._now_ms, self._now_ms)


class _FuzzedView(View):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.apply(FeatureLevelRecord(GROUP_VERSION, 1))

    def features(self) -> Any:
        return SimpleNamespace(supported=(), finalized=(), finalized_epoch=-1)

    def endpoint(self, broker_id: int, listener: str) -> Any:
        return self.endpoint_of(broker_id)


class Fuzzer:
    """`frames` of one seed. `table` counts what became of them, by API, version and fate."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.table: Counter[tuple[str, int, str]] = Counter()
        self.apis: list[Api] = []
        self._renew()

    def _renew(self) -> None:
        behind = cast(Any, Refusing(self.random))
        view = cast(Any, _FuzzedView(behind._node))
        door = KafkaDoor(
            view=view,
            config=NodeConfig(),
            replicas=behind,
            creation=Creation(),
            producer_ids=behind,
            link=behind,
            transport=behind,
            clock=behind,
            finder=behind,
            groups=cast(Any, FuzzedGroups(self.random, lambda: view.image)),
            transactions=cast(Any, FuzzedTransactions(self.random)),
        )
        api_versions = ApiVersions(view.features)
        listed = door.apis(view.endpoint_of)
        self._router = Router(listed, api_versions, SteppedClock())
        self.apis = [*listed, api_versions.api()]

    async def run(self, frames: int) -> None:
        """Raises `AssertionError` for the first frame that is neither answered nor refused as it should be."""
        for number in range(frames):
            if number % ROUND_FRAMES == ROUND_FRAMES - 1:
                self._renew()
            api, version, frame, is_whole = self.draw()
            fate = await self._throw(api, version, frame, is_whole)
            self.table[api.key.name, version, fate] += 1
            if number % SOCKET_SHARE == 0:
                await self._throw_at_a_listener(frame)

    def draw(self) -> tuple[Api, int, bytes, bool]:
        """An API, a version, a frame, and whether it is as its schema writes it."""
        random = self.random
        api = random.choice(self.apis)
        version = random.randint(api.version_min, api.version_max)
        flexible = version >= api.flexible_from
        schema = api.request or BY_HAND[api.key]
        body = bytes(encode(random_message(schema, version, flexible, random), version, flexible=flexible))
        client_id = random.choice((None, b"", b"fuzzer"))
        text = struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id
        header = struct.pack(">hhi", api.key, version, random.getrandbits(31)) + text + (b"\0" if flexible else b"")
        if random.random() < 0.4:
            return api, version, header + body, True
        return api, version, self._damaged(header, body), False

    def _damaged(self, header: bytes, body: bytes) -> bytes:
        random = self.random
        match random.randrange(6):
            case 0:
                return header + body[: random.randrange(len(body) + 1)]
            case 1:
                return header + body + random.randbytes(random.randrange(1, 20))
            case 2:
                return header + random.randbytes(random.randrange(100))
            case 3:
                at = random.randrange(len(body) + 1)
                huge = random.choice((b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\xff\x0f", b"\x7f\xff"))
                return header + body[:at] + huge + body[at + len(huge) :]
            case 4:
                return random.randbytes(random.randrange(20))
            case _:
                damaged = bytearray(header + body)
                for _ in range(random.randrange(1, 4)):
                    damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
                return bytes(damaged)

    async def _throw(self, api: Api, version: int, frame: bytes, is_whole: bool) -> str:
        try:
            answer = join(await self._router.handle(PEER, memoryview(bytearray(frame))))
        except ProtocolError as error:
            # acks=0 and no such isolation level are the two ways in which a whole request closes its connection
            assert not is_whole or api.key in (ApiKey.PRODUCE, ApiKey.FETCH, ApiKey.LIST_OFFSETS), f"{error}: {frame!r}"
            return "refused"
        except Exception as error:
            raise AssertionError(f"{api.key.name} v{version}: {error!r}: {frame!r}") from error
        if is_whole and api.response is not None:
            flexible = version >= api.flexible_from
            decode(api.response, memoryview(answer)[5 if flexible else 4 :], version, flexible=flexible)
        return "answered" if is_whole else "answered though damaged"

    async def _throw_at_a_listener(self, frame: bytes) -> None:
        """In random pieces, with its length or a wrong one; the listener serves whoever comes after."""

        def bare(peer: Address) -> Any:
            async def handle(received: memoryview) -> FrameParts:
                return await self._router.handle(peer, received)

            return handle

        async def run_here(work: Any) -> Any:
            return work()

        transport = TcpFramedTransport(run_here, FramedConfig(frame_bytes_max=2**20, receive_bytes_max=2**20))
        server = await transport.serve(Address("127.0.0.1", 0), bare)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
            size = self.random.choice((len(frame), len(frame), -1, 2**31 - 1, 0))
            data = struct.pack(">i", size) + frame
            try:
                while data:
                    cut = self.random.randint(1, len(data))
                    writer.write(data[:cut])
                    data = data[cut:]
                    await asyncio.sleep(0)
                writer.write_eof()
                async with asyncio.timeout(10):
                    await reader.read()
            except TimeoutError:
                raise AssertionError(f"the listener neither answered nor closed: {frame!r}") from None
            except OSError:
                pass  # closed in the middle of what was sent
            writer.close()
        finally:
            await server.stop()
        assert server.connection_count == 0 and server.reserved_bytes == 0


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def coverage(table: "Counter[tuple[str, int, str]]", apis: Sequence[Api]) -> "list[tuple[Any, ...]]":
    """For each API and version: how many were answered, answered though damaged, refused."""
    fates = ("answered", "answered though damaged", "refused")
    return [
        (api.key.name, version, *(table[api.key.name, version, fate] for fate in fates))
        for api in sorted(apis, key=lambda each: each.key)
        for version in range(api.version_min, api.version_max + 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Throw frames at the Kafka door.")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # a line for every connection that is closed
    fuzzer = Fuzzer(options.seed)
    began, before_mib = time.monotonic(), peak_mib()
    try:
        asyncio.run(fuzzer.run(options.frames))
    except AssertionError:
        traceback.print_exc()
        sys.exit(f"again with: python -m tests.kafka.fuzz --frames {options.frames} --seed {options.seed}")
    print(f"{'API':34} {'VERSION':>7} {'ANSWERED':>9} {'DAMAGED':>9} {'REFUSED':>9}")
    for row in coverage(fuzzer.table, fuzzer.apis):
        print(f"{row[0]:34} {row[1]:>7} {row[2]:>9} {row[3]:>9} {row[4]:>9}")
    took_s = time.monotonic() - began
    print(
        f"\nseed {options.seed}: {options.frames} frames in {took_s:.0f} s; no crash, no hang; "
        f"memory at its peak {peak_mib()} MiB, {peak_mib() - before_mib} MiB above its beginning"
    )


if __name__ == "__main__":
    main()
