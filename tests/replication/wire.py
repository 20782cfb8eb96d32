"""Fetch as JSON and raw batches: the plainest codec that can carry a query and an answer between test brokers."""

import json
from collections.abc import Sequence
from uuid import UUID

from broker.replication.fetch_types import (
    Diverging,
    FetchAnswer,
    FetchedPartition,
    FetchQuery,
    FetchTarget,
    ForgottenPartition,
    IsolationLevel,
)
from kraftpy import errors
from kraftpy.errors import KraftpyError
from kraftpy.runtime.ports import Buffer, FileSlice


def _error_named(name: str | None) -> type[KraftpyError] | None:
    for each in vars(errors).values():
        if isinstance(each, type) and issubclass(each, KraftpyError) and each.name == name:
            return each
    return None


def _target(target: FetchTarget) -> list[object]:
    return [
        str(target.topic_id) if target.topic_id else None,
        target.topic,
        target.partition,
        target.current_leader_epoch,
        target.offset,
        target.last_fetched_epoch,
        target.log_start_offset,
        target.max_bytes,
        target.high_watermark,
    ]


def _to_target(fields: list) -> FetchTarget:  # type: ignore[type-arg]
    return FetchTarget(UUID(fields[0]) if fields[0] else None, *fields[1:])


class PlainCodec:
    def encode_query(self, query: FetchQuery, correlation_id: int) -> Sequence[Buffer]:
        fields = {
            "replica": [query.replica_id, query.replica_epoch],
            "limits": [query.max_wait_ms, query.min_bytes, query.max_bytes],
            "targets": [_target(target) for target in query.partitions],
            "session": [query.session_id, query.session_epoch],
            "forgotten": [[str(each.topic_id), each.topic, each.partition] for each in query.forgotten],
        }
        return [json.dumps(fields).encode()]

    def decode_answer(self, frame: memoryview, correlation_id: int) -> FetchAnswer:
        head, _, body = bytes(frame).partition(b"\n")
        fields = json.loads(head)
        partitions = []
        for each in fields["partitions"]:
            records, body = body[: each["size"]], body[each["size"] :]
            partitions.append(
                FetchedPartition(
                    target=_to_target(each["target"]),
                    error=_error_named(each["error"]),
                    high_watermark=each["watermark"],
                    log_start_offset=each["start"],
                    diverging=Diverging(*each["diverging"]) if each["diverging"] else None,
                    records=records,
                    size_bytes=len(records),
                )
            )
        return FetchAnswer(partitions, fields["session"], _error_named(fields["error"]))


def decode_query(frame: memoryview) -> FetchQuery:
    fields = json.loads(bytes(frame))
    return FetchQuery(
        replica_id=fields["replica"][0],
        replica_epoch=fields["replica"][1],
        max_wait_ms=fields["limits"][0],
        min_bytes=fields["limits"][1],
        max_bytes=fields["limits"][2],
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        partitions=[_to_target(each) for each in fields["targets"]],
        session_id=fields["session"][0],
        session_epoch=fields["session"][1],
        forgotten=[ForgottenPartition(UUID(each[0]), each[1], each[2]) for each in fields["forgotten"]],
    )


def encode_answer(answer: FetchAnswer) -> list[Buffer | FileSlice]:
    fields = {
        "session": answer.session_id,
        "error": answer.error.name if answer.error else None,
        "partitions": [
            {
                "target": _target(each.target),
                "error": each.error.name if each.error else None,
                "watermark": each.high_watermark,
                "start": each.log_start_offset,
                "diverging": each.diverging,
                "size": each.size_bytes,
            }
            for each in answer.partitions
        ],
    }
    slices = [piece for each in answer.partitions for piece in each.slices]
    return [json.dumps(fields).encode() + b"\n", *slices]
