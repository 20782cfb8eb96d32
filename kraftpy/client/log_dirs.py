"""The log directories of brokers, asked of each broker itself (KIP-113)."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from kraftpy.client.admin_values import LogDirDescription, LogDirReplica, NodeDescription
from kraftpy.client.any_node import Deadline
from kraftpy.client.wire import ADMIN, ClientPorts, Message, as_kraftpy_error
from kraftpy.client.wire_numbers import wire_numbers
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import BrokerNotAvailableError, KraftpyError
from kraftpy.pb import admin_pb2
from kraftpy.runtime.ports import Address, TransportError
from kraftpy.shown_ids import shown_id

ANSWER_MS = 10_000
"""Silence of one broker until it counts as not reachable."""

M = TypeVar("M", bound=Message)
ReplicaPlace = tuple[str, int, int]
"""Topic, partition, broker."""


async def describe_log_dirs(
    ports: ClientPorts, brokers: Sequence[NodeDescription], topics: Collection[str], deadline: Deadline
) -> dict[int, list[LogDirDescription] | KraftpyError]:
    """The directories of each broker, or why it does not tell of them."""
    request = admin_pb2.DescribeLogDirsRequest(topics=topics)
    answers = await asyncio.gather(
        *[
            _ask(ports, broker, "DescribeLogDirs", request, admin_pb2.DescribeLogDirsResponse, deadline)
            for broker in brokers
        ]
    )
    return {
        broker.node_id: answer
        if isinstance(answer, KraftpyError)
        else [_described(broker.node_id, each) for each in answer.directories]
        for broker, answer in zip(brokers, answers, strict=True)
    }


async def alter_replica_log_dirs(
    ports: ClientPorts, brokers: Iterable[NodeDescription], moves: Mapping[ReplicaPlace, str], deadline: Deadline
) -> None:
    """Begin every move. The first that is refused is raised after all have been tried."""
    by_id = {broker.node_id: broker for broker in brokers}
    requests: dict[int, admin_pb2.AlterReplicaLogDirsRequest] = {}
    for (topic, partition, broker_id), path in moves.items():
        if broker_id not in by_id:
            raise BrokerNotAvailableError(f"there is no broker {broker_id}")
        request = requests.setdefault(broker_id, admin_pb2.AlterReplicaLogDirsRequest())
        with wire_numbers():
            request.moves.add(topic=topic, partition=partition, path=path)
    refused: KraftpyError | None = None
    for broker_id, request in requests.items():
        answer = await _ask(
            ports, by_id[broker_id], "AlterReplicaLogDirs", request, admin_pb2.AlterReplicaLogDirsResponse, deadline
        )
        if isinstance(answer, KraftpyError):
            refused = refused or answer
            continue
        for moved in answer.moves:
            if moved.error != NO_ERROR:
                refused = refused or error_for(moved.error, f"{moved.topic}-{moved.partition}: {moved.error_message}")
    if refused is not None:
        raise refused


async def _ask(
    ports: ClientPorts, broker: NodeDescription, method: str, request: Message, answer: type[M], deadline: Deadline
) -> M | KraftpyError:
    address = Address(broker.host, broker.port)
    try:
        return await ports.call(address, ADMIN + method, request, answer, min(deadline.left_ms, ANSWER_MS))
    except TransportError as error:
        return as_kraftpy_error(error)


def _described(broker_id: int, info: admin_pb2.LogDirInfo) -> LogDirDescription:
    return LogDirDescription(
        broker_id,
        info.path,
        shown_id(info.directory_id),
        "" if info.error == NO_ERROR else info.error_message or error_for(info.error).name,
        None if info.total_bytes < 0 else info.total_bytes,
        None if info.usable_bytes < 0 else info.usable_bytes,
        tuple(
            LogDirReplica(each.topic, each.partition, each.size_bytes, each.offset_lag, each.is_future)
            for each in info.replicas
        ),
    )
