"""The replicas of a stopped cluster, compared byte for byte: the same batches at the same offsets on every node."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kraftpy.record.header import iterate_headers


def differences(directory: str, partition: str, node_ids: list[int]) -> list[str]:
    """How the nodes' logs of `partition` ("topic-0") differ; nothing where all of them were in sync when they stopped.

    Nodes may roll and delete segments at different offsets, so the logs are compared from the latest first offset.
    """
    return differences_between(
        partition, {node_id: [Path(directory) / f"node-{node_id}" / partition] for node_id in node_ids}
    )


def differences_between(partition: str, places: Mapping[int, Sequence[Path]]) -> list[str]:
    """The same, where each node's replica lies in any one of its directories."""
    logs = {node_id: _batches(directories) for node_id, directories in places.items()}
    found = [f"{partition}: node {node_id} holds nothing" for node_id, batches in logs.items() if not batches]
    if found:
        return found
    start = max(min(batches) for batches in logs.values())
    first, *others = (
        (node_id, {offset: batch for offset, batch in batches.items() if offset >= start})
        for node_id, batches in logs.items()
    )
    for node_id, batches in others:
        differing = [offset for offset in {**first[1], **batches} if first[1].get(offset) != batches.get(offset)]
        if differing:
            found.append(
                f"{partition}: nodes {first[0]} and {node_id} differ in {len(differing)} batches, the first at offset "
                f"{min(differing)}"
            )
    return found


def _batches(directories: Sequence[Path]) -> dict[int, bytes]:
    """By base offset."""
    batches: dict[int, bytes] = {}
    for path in sorted(path for directory in directories for path in directory.glob("*.log")):
        data = path.read_bytes()
        for position, header in iterate_headers(data):
            batches[header.base_offset] = data[position : position + header.size_bytes]
    return batches
