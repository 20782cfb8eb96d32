"""ListOffsets (key 2), versions 1–11: offsets by timestamp, and the ends of partitions. KIP-79, 207, 320, 734, 1005.

Nothing is tiered here, so EARLIEST_LOCAL is the log's start, and the two that ask for the tiered part find nothing. The
time-out of version 10 is for remote storage and not needed. A partition that is listed twice is refused.
"""

from struct import Struct

from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.ports import Reads
from broker.kafka.wire import NO_TAGS, NO_THROTTLE, ProtocolError, RequestReader, count, string
from broker.replication.fetch_types import FoundOffset, IsolationLevel, OffsetSpec, OffsetsQuery, OffsetTarget
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    InvalidRequestError,
    KraftpyError,
    LeaderNotAvailableError,
    OffsetNotAvailableError,
    UnsupportedVersionError,
)
from kraftpy.runtime.ports import FrameParts

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 1, 11, 6
_ISOLATION_FROM = 2
_THROTTLED_FROM = 2
_EPOCHS_FROM = 4
_NOT_AVAILABLE_FROM = 5
"""From here on clients know OFFSET_NOT_AVAILABLE (KIP-207); before, LEADER_NOT_AVAILABLE lets them try again."""
_TIMEOUT_FROM = 10
_SPEC_FROM: dict[int, int] = {
    OffsetSpec.LATEST: 1,
    OffsetSpec.EARLIEST: 1,
    OffsetSpec.MAX_TIMESTAMP: 7,
    OffsetSpec.EARLIEST_LOCAL: 8,
    OffsetSpec.LATEST_TIERED: 9,
    OffsetSpec.EARLIEST_PENDING_UPLOAD: 11,
}
_PARTITION = Struct(">iq")
_PARTITION_WITH_EPOCH = Struct(">iiq")
_FOUND = Struct(">ihqq")
_FOUND_WITH_EPOCH = Struct(">ihqqi")


class ListOffsets:
    """The handler."""

    def __init__(self, replicas: Reads) -> None:
        self._replicas = replicas

    def api(self) -> Api:
        return Api(ApiKey.LIST_OFFSETS, VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM, self.handle)

    async def handle(self, request: Request) -> FrameParts:
        query = decode_request(request.version, request.body)
        refused = _refusals(request.version, query.partitions)
        asked = [target for index, target in enumerate(query.partitions) if index not in refused]
        found = iter(
            await self._replicas.list_offsets(
                OffsetsQuery(query.replica_id, query.isolation_level, asked, query.timeout_ms)
            )
            if asked
            else []
        )
        answers = [refused[index] if index in refused else next(found) for index in range(len(query.partitions))]
        return [encode_response(request.version, answers)]


def decode_request(version: int, body: memoryview) -> OffsetsQuery:
    """Raises `ProtocolError`."""
    flexible = version >= FLEXIBLE_FROM
    layout = _PARTITION_WITH_EPOCH if version >= _EPOCHS_FROM else _PARTITION
    reader = RequestReader(body, flexible=flexible)
    replica_id = reader.int32()
    level = reader.int8() if version >= _ISOLATION_FROM else 0
    if level not in (0, 1):
        raise ProtocolError(f"{level} is no isolation level")
    targets: list[OffsetTarget] = []
    for _ in range(reader.count(element_bytes_min=3)):
        topic = reader.string()
        for _ in range(reader.count(element_bytes_min=layout.size)):
            fields = reader.unpack(layout)
            epoch = fields[1] if version >= _EPOCHS_FROM else -1
            targets.append(OffsetTarget(topic, fields[0], epoch, fields[-1]))
            reader.skip_tags()
        reader.skip_tags()
    timeout_ms = max(0, reader.int32()) if version >= _TIMEOUT_FROM else 0
    reader.skip_tags()
    return OffsetsQuery(replica_id, IsolationLevel(level), targets, timeout_ms)


def _refusals(version: int, targets: list[OffsetTarget]) -> dict[int, FoundOffset]:
    """The targets, by their index, that are refused without asking anybody."""
    refused: dict[int, FoundOffset] = {}
    seen: dict[tuple[str, int], int] = {}  # the first index of each partition
    for index, target in enumerate(targets):
        first = seen.setdefault((target.topic, target.partition), index)
        if first != index:
            for each in (first, index):
                refused[each] = FoundOffset(targets[each], InvalidRequestError)
        elif target.timestamp_ms < 0 and version < _SPEC_FROM.get(target.timestamp_ms, VERSION_MAX + 1):
            refused[index] = FoundOffset(target, UnsupportedVersionError)
    return refused


def encode_response(version: int, answers: list[FoundOffset]) -> bytes:
    """Topics in the order of the answers; neighbours of one topic share its entry."""
    flexible = version >= FLEXIBLE_FROM
    end_of_structure = NO_TAGS if flexible else b""
    pieces = [NO_THROTTLE] if version >= _THROTTLED_FROM else []
    groups = _by_topic(answers)
    pieces.append(count(len(groups), flexible=flexible))
    for topic, group in groups:
        pieces += (string(topic, flexible=flexible), count(len(group), flexible=flexible))
        for found in group:
            code = NO_ERROR if found.error is None else _code(version, found.error)
            fields = (found.target.partition, code, found.timestamp_ms, found.offset)
            if version >= _EPOCHS_FROM:
                pieces.append(_FOUND_WITH_EPOCH.pack(*fields, found.leader_epoch))
            else:
                pieces.append(_FOUND.pack(*fields))
            pieces.append(end_of_structure)
        pieces.append(end_of_structure)
    pieces.append(end_of_structure)
    return b"".join(pieces)


def _code(version: int, error: type[KraftpyError]) -> int:
    if version < _NOT_AVAILABLE_FROM and issubclass(error, OffsetNotAvailableError):
        return code_of(LeaderNotAvailableError)
    return code_of(error)


def _by_topic(answers: list[FoundOffset]) -> list[tuple[str, list[FoundOffset]]]:
    groups: list[tuple[str, list[FoundOffset]]] = []
    for found in answers:
        if not groups or groups[-1][0] != found.target.topic:
            groups.append((found.target.topic, []))
        groups[-1][1].append(found)
    return groups
