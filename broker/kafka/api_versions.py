"""ApiVersions (key 18), versions 0–4: what this listener serves. KIP-35, KIP-511, KIP-584.

It advertises the router's table and nothing else. An unknown version is answered as version 0 with UNSUPPORTED_VERSION
and the versions of this API, whereupon a client asks again. Finalized features come from the metadata image.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.wire import NO_TAGS, NO_THROTTLE, RequestReader, count, string, tagged
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidRequestError, UnsupportedVersionError
from kraftpy.runtime.ports import FrameParts

VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM = 0, 4, 3
_THROTTLED_FROM = 1
_ZERO_MINIMUM_FROM = 4  # clients of older versions refuse a supported feature that starts at 0
_RANGE = Struct(">hhh")
_LEVELS = Struct(">hh")
_ERROR = Struct(">h")
_EPOCH = Struct(">q")
_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


@dataclass(frozen=True, slots=True)
class Features:
    """Which features the nodes support, and which the cluster has finalized (KIP-584). Each: name, lowest, highest."""

    supported: tuple[tuple[str, int, int], ...] = ()
    finalized: tuple[tuple[str, int, int], ...] = ()
    finalized_epoch: int = -1
    """Grows with every change; -1: nothing is known about finalized features."""


class Advertised(Protocol):
    """What is told of an API."""

    @property
    def key(self) -> ApiKey: ...

    @property
    def advertised_min(self) -> int: ...

    @property
    def version_max(self) -> int: ...


class ApiVersions:
    """Answers from bytes that are kept as long as the features stay what they are."""

    def __init__(self, features: Callable[[], Features] = Features) -> None:
        self._features = features
        self._ranges: list[tuple[int, int, int]] = []
        self._bodies: dict[int, tuple[Features, bytes]] = {}  # by version, at most five

    def api(self) -> Api:
        return Api(
            ApiKey.API_VERSIONS, VERSION_MIN, VERSION_MAX, FLEXIBLE_FROM, self.handle, response_header_is_flexible=False
        )

    def advertise(self, table: Iterable[Advertised]) -> None:
        self._ranges = sorted((int(api.key), api.advertised_min, api.version_max) for api in table)
        self._bodies.clear()

    async def handle(self, request: Request) -> FrameParts:
        version = request.version
        if not _is_well_named(request):
            return [_encode(version, code_of(InvalidRequestError), [], Features())]
        features = self._features()
        known, body = self._bodies.get(version, (None, b""))
        if known != features:
            body = _encode(version, NO_ERROR, self._ranges, features)
            self._bodies[version] = (features, body)
        return [body]


def _is_well_named(request: Request) -> bool:
    """Whether the client's name and version, sent from version 3 on, are such as Kafka accepts (KIP-511)."""
    flexible = request.version >= FLEXIBLE_FROM
    reader = RequestReader(request.body, flexible=flexible)
    is_well_named = True
    if flexible:
        software = (reader.string(), reader.string())
        is_well_named = all(_SOFTWARE.fullmatch(text) for text in software)
        reader.skip_tags()
    return is_well_named


def unsupported_version(api: Api) -> bytes:
    """The body of the answer to a version that is not served."""
    ranges = [(int(api.key), api.version_min, api.version_max)]
    return _encode(VERSION_MIN, code_of(UnsupportedVersionError), ranges, Features())


def _encode(version: int, error_code: int, ranges: list[tuple[int, int, int]], features: Features) -> bytes:
    flexible = version >= FLEXIBLE_FROM
    end_of_structure = NO_TAGS if flexible else b""
    pieces = [_ERROR.pack(error_code), count(len(ranges), flexible=flexible)]
    for key_and_range in ranges:
        pieces += (_RANGE.pack(*key_and_range), end_of_structure)
    if version >= _THROTTLED_FROM:
        pieces.append(NO_THROTTLE)
    if flexible:
        pieces.append(_encode_features(version, features))
    return b"".join(pieces)


def _encode_features(version: int, features: Features) -> bytes:
    supported = [each for each in features.supported if version >= _ZERO_MINIMUM_FROM or each[1] > 0]
    fields = []
    if supported:
        fields.append((0, _encode_ranges([(name, low, high) for name, low, high in supported])))
    if features.finalized_epoch >= 0:
        fields.append((1, _EPOCH.pack(features.finalized_epoch)))
    if features.finalized:
        # Here the highest level comes first.
        fields.append((2, _encode_ranges([(name, high, low) for name, low, high in features.finalized])))
    return tagged(fields)


def _encode_ranges(named: list[tuple[str, int, int]]) -> bytes:
    pieces = [count(len(named), flexible=True)]
    for name, first, second in named:
        pieces += (string(name, flexible=True), _LEVELS.pack(first, second), NO_TAGS)
    return b"".join(pieces)
