"""Our bytes against kafka-clients' own: `python -m tests.compatibility.codec_java [--messages N] [--seed N]`.

Random messages of every API that the door serves, in every version, requests and responses, are written by us, read by
the classes that kafka-clients generates from Kafka's definitions, and written again by them: the same bytes, all of
them. What we read by hand is written from a schema and must give kafka-clients' bytes first, then be read by the
hand-written reader; what we write by hand goes through kafka-clients, and what comes back is read by our follower's
reader where there is one (Fetch).
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from struct import Struct
from types import TracebackType
from typing import Self
from uuid import UUID

from broker.kafka import fetch_request, fetch_response, list_offsets, produce_messages
from broker.kafka.api import Api, ApiKey
from broker.kafka.endpoints import AdvertisedEndpoint
from broker.kafka.fetch_codec import FollowerFetchCodec
from broker.kafka.produce_messages import AnsweredPartition
from broker.kafka.schema import Structure, decode, encode
from broker.kafka.wire import ProtocolError
from broker.replication.fetch_types import (
    AbortedTransaction,
    CurrentLeader,
    Diverging,
    FetchAnswer,
    FetchedPartition,
    FetchTarget,
    FoundOffset,
    IsolationLevel,
    OffsetTarget,
)
from kraftpy.errors import KraftpyError, NotLeaderOrFollowerError, OffsetOutOfRangeError
from tests.compatibility.cache import PROGRAMS, Cache, NotAvailableError, cache_directory, tool
from tests.kafka.fake_replicas import join
from tests.kafka.random_messages import random_message
from tests.kafka.request_schemas import FetchRequest, ListOffsetsRequest, ProduceRequest
from tests.kafka.tables import APIS

MESSAGES = 40
"""For each API, version and direction."""

_QUESTION = Struct(">hhbi")
_ANSWER = Struct(">bi")

_TOPICS = (("a", UUID(int=1)), ("zweites-ü", UUID(int=2**127 + 5)))
_ERRORS: tuple[type[KraftpyError] | None, ...] = (None, NotLeaderOrFollowerError, OffsetOutOfRangeError)


class KafkaClients:
    """The Java program, for as long as it is asked."""

    def __init__(self, cache: Cache) -> None:
        classes = cache.classes("kafka-4", [PROGRAMS / "java" / "codec" / "CodecPeer.java"])
        self._command = [tool("java"), "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", classes, "CodecPeer"]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def again(self, key: int, version: int, is_request: bool, message: bytes) -> bytes:
        """The message as kafka-clients writes what it has read. Raises `AssertionError` with what it did not like."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(_QUESTION.pack(key, version, is_request, len(message)) + message)
        self._process.stdin.flush()
        whole, size = _ANSWER.unpack(self._process.stdout.read(_ANSWER.size))
        answer = self._process.stdout.read(size)
        if not whole:
            raise AssertionError(f"kafka-clients: {answer.decode()[:300]}")
        return answer


@dataclass(frozen=True, slots=True)
class Side:
    """Requests or responses of one API: `write` makes random ones, `read` looks at what came back."""

    key: ApiKey
    is_request: bool
    versions: range
    by_hand: bool
    write: Callable[[int, Random], bytes]
    read: Callable[[int, bytes], None]


def sides() -> Iterator[Side]:
    for api in APIS:
        versions = range(api.version_min, api.version_max + 1)
        for is_request in (True, False):
            yield by_hand(api, is_request, versions) or by_schema(api, is_request, versions)


def by_schema(api: Api, is_request: bool, versions: range) -> Side:
    structure = api.request if is_request else api.response
    assert structure is not None, f"{api.key.name} is packed by hand and has no comparison here"

    def write(version: int, random: Random) -> bytes:
        flexible = version >= api.flexible_from
        return bytes(encode(random_message(structure, version, flexible, random), version, flexible=flexible))

    def read(version: int, message: bytes) -> None:
        decode(structure, message, version, flexible=version >= api.flexible_from)

    return Side(api.key, is_request, versions, False, write, read)


def by_hand(api: Api, is_request: bool, versions: range) -> Side | None:
    """Produce, Fetch, ListOffsets."""
    requests: dict[ApiKey, tuple[type[Structure], Callable[[int, memoryview], object]]] = {
        ApiKey.PRODUCE: (ProduceRequest, produce_messages.decode_request),
        ApiKey.FETCH: (FetchRequest, fetch_request.decode_request),
        ApiKey.LIST_OFFSETS: (ListOffsetsRequest, list_offsets.decode_request),
    }
    responses: dict[ApiKey, Callable[[int, Random], bytes]] = {
        ApiKey.PRODUCE: produce_response,
        ApiKey.FETCH: fetch_response_bytes,
        ApiKey.LIST_OFFSETS: list_offsets_response,
    }
    if api.key not in requests:
        return None
    from_version = {ApiKey.PRODUCE: 3}.get(api.key, versions.start)  # older ones are advertised, and refused
    real = range(from_version, versions.stop)
    if not is_request:
        return Side(api.key, False, real, True, responses[api.key], read_by_follower(api.key))
    structure, reader = requests[api.key]

    def write(version: int, random: Random) -> bytes:
        flexible = version >= api.flexible_from
        message = random_message(structure, version, flexible, random)
        if isinstance(message, FetchRequest | ListOffsetsRequest):  # another level is refused for its meaning
            message = replace(message, isolation_level=random.randrange(2))
        return bytes(encode(message, version, flexible=flexible))

    def read(version: int, message: bytes) -> None:
        reader(version, memoryview(message))

    return Side(api.key, True, real, True, write, read)


def read_by_follower(key: ApiKey) -> Callable[[int, bytes], None]:
    def read(version: int, message: bytes) -> None:
        if key is ApiKey.FETCH and version == 18:
            frame = (7).to_bytes(4, "big") + b"\0" + message
            FollowerFetchCodec().decode_answer(memoryview(frame), 7)

    return read


def produce_response(version: int, random: Random) -> bytes:
    def answer() -> AnsweredPartition:
        topic, topic_id = random.choice(_TOPICS)
        leader = random.choice([None, (random.randrange(9), random.randrange(99))])
        message = random.choice([None, "", "why"])
        return AnsweredPartition(
            topic, topic_id, random.randrange(9), random.choice([0, 6, 87]), message, _int64(random), _int64(random),
            _int64(random), leader,
        )  # fmt: skip

    return produce_messages.encode_response(version, [answer() for _ in range(random.randrange(5))], _endpoints(random))


def fetch_response_bytes(version: int, random: Random) -> bytes:
    level = random.choice(list(IsolationLevel))

    def fetched() -> FetchedPartition:
        topic, topic_id = random.choice(_TOPICS)
        target = FetchTarget(topic_id, topic, random.randrange(9), 0, 0, 0, 0, 0)
        records = random.randbytes(random.choice([0, 61, 300]))
        return FetchedPartition(
            target,
            random.choice(_ERRORS),
            high_watermark=_int64(random),
            last_stable_offset=_int64(random),
            log_start_offset=_int64(random),
            records=records,
            size_bytes=len(records),
            diverging=random.choice([None, Diverging(random.randrange(9), _int64(random))]),
            leader=random.choice([None, CurrentLeader(random.randrange(9), random.randrange(9))]),
            aborted=[AbortedTransaction(_int64(random), _int64(random)) for _ in range(random.randrange(3))],
            preferred_read_replica=random.randrange(-1, 3),
            may_have_gaps=random.random() < 0.3,
        )

    answer = FetchAnswer([fetched() for _ in range(random.randrange(5))], random.randrange(99))
    return bytes(join(fetch_response.encode_response(version, answer, level, _endpoint_of)))


def list_offsets_response(version: int, random: Random) -> bytes:
    def found() -> FoundOffset:
        target = OffsetTarget(random.choice(_TOPICS)[0], random.randrange(9), 0, -1)
        return FoundOffset(target, random.choice(_ERRORS), _int64(random), _int64(random), random.randrange(-1, 9))

    return bytes(list_offsets.encode_response(version, [found() for _ in range(random.randrange(5))]))


def _int64(random: Random) -> int:
    return random.choice([-1, 0, 5, 10**12, 2**63 - 1])


def _endpoints(random: Random) -> list[AdvertisedEndpoint]:
    return [
        AdvertisedEndpoint(number, f"host-{number}", 9092, random.choice([None, "rack"]))
        for number in range(random.randrange(3))
    ]


def _endpoint_of(broker_id: int) -> AdvertisedEndpoint | None:
    return AdvertisedEndpoint(broker_id, "host", 9092, None)


def compare(side: Side, clients: KafkaClients, messages: int, seed: int) -> list[str]:
    """What differs, a line for each version that does."""
    differences = []
    for version in side.versions:
        random = Random(f"{seed}-{side.key}-{side.is_request}-{version}")
        try:
            for _ in range(messages):
                ours = side.write(version, random)
                theirs = clients.again(side.key, version, side.is_request, ours)
                assert theirs == ours, f"we write {ours.hex()[:400]}, kafka-clients {theirs.hex()[:400]}"
                side.read(version, theirs)
        except (AssertionError, KraftpyError, ProtocolError, ValueError) as error:
            differences.append(f"{name_of(side)} v{version}: {error}")
    return differences


def name_of(side: Side) -> str:
    return f"{side.key.name.lower()} {'request' if side.is_request else 'response'}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.compatibility.codec_java", description="Our bytes, and Kafka's"
    )
    parser.add_argument("--messages", type=int, default=MESSAGES, help="for each API, version and direction")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    compared, differences = 0, []
    try:
        with KafkaClients(Cache(cache_directory())) as clients:
            for side in sides():
                differences += compare(side, clients, options.messages, options.seed)
                compared += len(side.versions) * options.messages
    except NotAvailableError as error:
        print(f"not compared: {error}")
        return 0
    for difference in differences:
        print(difference)
    print(f"{compared} messages compared with kafka-clients', seed {options.seed}: {len(differences)} versions differ")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
