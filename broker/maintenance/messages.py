"""What travels on the pipes between a node and its maintenance process: JSON behind a length of four bytes.

node → process     {"clean" | "scrub" | "digest": job} | {"bytes_per_second": number}, the second at any time
process → node     {"cleaned" | "scrubbed" | "digested": result}
                   | {"failed": message, "permanent": bool, "unreadable": bool}
"""

import json
from dataclasses import asdict
from struct import Struct
from typing import Any

from broker.maintenance.failure import JobFailed
from broker.maintenance.jobs import Job, Outcome
from log_store.compaction.job import Cleaned, CleanedSegment, CleaningJob, KnownProducer, Source
from log_store.digest import Digested, DigestJob, RangeDigest, RecordDigest, Stretch
from log_store.integrity import Damage
from log_store.leader_epochs import EpochStart
from log_store.scrub import Scrubbed, ScrubJob

LENGTH = Struct(">I")
FRAME_BYTES_MAX = 64 * 1024 * 1024
"""Above the largest job: 100,000 producers and as many segments as one log has descriptors for."""


def encode_job(job: Job) -> bytes:
    match job:
        case CleaningJob():
            return _framed({"clean": asdict(job)})
        case ScrubJob():
            return _framed({"scrub": asdict(job)})
        case DigestJob():
            return _framed({"digest": asdict(job)})


def encode_pace(bytes_per_second: float) -> bytes:
    return _framed({"bytes_per_second": bytes_per_second})


def decode_request(body: bytes) -> Job | float:
    """A job, or how fast to work from now on. Raises `ValueError` for what is neither."""
    message = json.loads(body)
    if isinstance(message, dict) and "bytes_per_second" in message:
        return float(message["bytes_per_second"])
    if isinstance(message, dict) and "scrub" in message:
        fields = _fields(message, "scrub")
        return ScrubJob(**fields | {"epochs": _rows(EpochStart, fields["epochs"])})
    if isinstance(message, dict) and "digest" in message:
        fields = _fields(message, "digest")
        rows = {"epochs": _rows(EpochStart, fields["epochs"]), "stretches": _rows(Stretch, fields["stretches"])}
        return DigestJob(**fields | rows)
    fields = _fields(message, "clean")
    fields["sources"] = _rows(Source, fields["sources"])
    fields["producers"] = _rows(KnownProducer, fields["producers"])
    return CleaningJob(**fields)


def encode_outcome(outcome: Outcome) -> bytes:
    match outcome:
        case Cleaned():
            return _framed({"cleaned": asdict(outcome)})
        case Scrubbed():
            return _framed({"scrubbed": outcome._asdict()})
        case Digested():
            return _framed({"digested": outcome._asdict()})


def encode_failure(failure: JobFailed) -> bytes:
    told = {"failed": str(failure), "permanent": failure.is_permanent, "unreadable": failure.is_unreadable}
    return _framed(told)


def decode_answer(body: bytes) -> Outcome:
    """Raises `JobFailed` where that is the answer, `ValueError` for what is none."""
    answer = json.loads(body)
    if "failed" in answer:
        is_permanent, is_unreadable = bool(answer["permanent"]), bool(answer["unreadable"])
        raise JobFailed(str(answer["failed"]), is_permanent=is_permanent, is_unreadable=is_unreadable)
    if "scrubbed" in answer:
        fields = _fields(answer, "scrubbed")
        return Scrubbed(**fields | {"damages": _rows(Damage, fields["damages"])})
    if "digested" in answer:
        fields = _fields(answer, "digested")
        for name, kind in (("ranges", RangeDigest), ("records", RecordDigest), ("damages", Damage)):
            fields[name] = _rows(kind, fields[name])
        return Digested(**fields)
    fields = _fields(answer, "cleaned")
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


def _fields(message: Any, name: str) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get(name), dict):
        raise ValueError(f"a message without {name}")
    return dict(message[name])


def _rows(kind: Any, rows: list[list[Any]]) -> tuple[Any, ...]:
    return tuple(kind(*row) for row in rows)
