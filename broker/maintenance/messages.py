"""What travels on the pipes between a node and its maintenance process: JSON behind a length of four bytes.

node → process     {"clean": job} | {"bytes_per_second": number}, the second at any time
process → node     {"cleaned": result} | {"failed": message, "permanent": bool}
"""

import json
from dataclasses import asdict
from struct import Struct
from typing import Any

from broker.maintenance.failure import CleaningFailed
from log_store.compaction.job import Cleaned, CleanedSegment, CleaningJob, KnownProducer, Source

LENGTH = Struct(">I")
FRAME_BYTES_MAX = 64 * 1024 * 1024
"""Above the largest job: 100,000 producers and as many segments as one log has descriptors for."""


def encode_job(job: CleaningJob) -> bytes:
    return _framed({"clean": asdict(job)})


def encode_pace(bytes_per_second: float) -> bytes:
    return _framed({"bytes_per_second": bytes_per_second})


def decode_request(body: bytes) -> CleaningJob | float:
    """A job, or how fast to work from now on. Raises `ValueError` for what is neither."""
    message = json.loads(body)
    if isinstance(message, dict) and "bytes_per_second" in message:
        return float(message["bytes_per_second"])
    fields = _fields(body, "clean")
    fields["sources"] = tuple(Source(*each) for each in fields["sources"])
    fields["producers"] = tuple(KnownProducer(*each) for each in fields["producers"])
    return CleaningJob(**fields)


def encode_cleaned(cleaned: Cleaned) -> bytes:
    return _framed({"cleaned": asdict(cleaned)})


def encode_failure(failure: CleaningFailed) -> bytes:
    return _framed({"failed": str(failure), "permanent": failure.is_permanent})


def decode_answer(body: bytes) -> Cleaned:
    """Raises `CleaningFailed` where that is the answer, `ValueError` for what is none."""
    answer = json.loads(body)
    if "failed" in answer:
        raise CleaningFailed(str(answer["failed"]), is_permanent=bool(answer["permanent"]))
    fields = _fields(body, "cleaned")
    fields["segments"] = tuple(CleanedSegment._make([*each[:-1], tuple(each[-1])]) for each in fields["segments"])
    return Cleaned(**fields)


def body_bytes(length: bytes) -> int:
    """How many bytes follow a frame's length. Raises `ValueError` for more than any message has."""
    (size_bytes,) = LENGTH.unpack(length)
    if size_bytes > FRAME_BYTES_MAX:
        raise ValueError(f"a message of {size_bytes} bytes")
    return int(size_bytes)


def _framed(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, separators=(",", ":")).encode()
    return LENGTH.pack(len(body)) + body


def _fields(body: bytes, name: str) -> dict[str, Any]:
    message = json.loads(body)
    if not isinstance(message, dict) or not isinstance(message.get(name), dict):
        raise ValueError(f"a message without {name}")
    return dict(message[name])
