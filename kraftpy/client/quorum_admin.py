"""Changing the quorum's voters and raising features: the part of the admin that speaks of the cluster's own making.

A new voter has to catch up first. The cluster waits for that a few seconds at a time and then says what is missing, so
whoever waits longer asks again: nothing is lost by it, and the caller can be told how it goes. A change whose answer
was lost is asked for again; that it is then found done counts as success, and levels are told by what they were before.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from kraftpy.client.admin_values import (
    FeatureChange,
    FeaturesDescription,
    NodeFeatures,
    QuorumVoter,
    directory_bytes,
)
from kraftpy.client.any_node import AnyNode, Attempts, Deadline
from kraftpy.client.wire import ADMIN, ClientPorts
from kraftpy.client.wire_numbers import milliseconds, wire_numbers
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    CallTimeoutError,
    DuplicateVoterError,
    KraftpyError,
    NoBrokersAvailableError,
    NotControllerError,
    RequestTimedOutError,
    VoterNotFoundError,
)
from kraftpy.pb import admin_pb2
from kraftpy.shown_ids import shown_id

ROUND_MS = 4_000  # for which the cluster waits before it says what is missing; less than a node may be silent
ROUND_MS_MIN = 500  # with less time left nothing more is asked: the reason that is known is the best one

M = TypeVar("M")

Progress = Callable[[str], None]
"""Told, every few seconds, why a change is not done yet."""


class QuorumAdmin:
    """`nodes` are those that may be asked. The methods are `kraftpy.aio.Admin`'s, which documents them."""

    def __init__(self, nodes: AnyNode, ports: ClientPorts) -> None:
        self._nodes = nodes
        self._ports = ports

    async def add_voter(
        self, node_id: int, directory_id: str | None, timeout: float, progress: Progress | None
    ) -> tuple[QuorumVoter, ...]:
        with wire_numbers():
            request = admin_pb2.AddRaftVoterRequest(node_id=node_id, directory_id=directory_bytes(directory_id))
        deadline = Deadline(self._ports, timeout)
        return await self._change("AddRaftVoter", request, deadline, DuplicateVoterError, progress)

    async def remove_voter(
        self, node_id: int, directory_id: str | None, force: bool, timeout: float
    ) -> tuple[QuorumVoter, ...]:
        with wire_numbers():
            request = admin_pb2.RemoveRaftVoterRequest(
                node_id=node_id, directory_id=directory_bytes(directory_id), force=force
            )
        deadline = Deadline(self._ports, timeout)
        if directory_id is None:  # a call that is late must not remove who votes under this number by then
            voters = (await self._described(deadline)).voters
            request.directory_id = next((each.directory_id for each in voters if each.node_id == node_id), b"")
        return await self._change("RemoveRaftVoter", request, deadline, VoterNotFoundError, None)

    async def describe_features(self, timeout: float) -> FeaturesDescription:
        answer = await self._features(Deadline(self._ports, timeout))
        nodes = tuple(_node_features(node) for node in sorted(answer.nodes, key=lambda node: node.node_id))
        return FeaturesDescription(dict(sorted(answer.finalized.items())), nodes)

    async def update_features(
        self, levels: Mapping[str, int], release: str, validate_only: bool, timeout: float
    ) -> tuple[FeatureChange, ...]:
        timeout_ms = milliseconds(timeout)
        with wire_numbers():
            request = admin_pb2.UpdateFeaturesRequest(
                levels=levels, release=release, validate_only=validate_only, timeout_ms=timeout_ms
            )
        deadline = Deadline(self._ports, timeout)
        before = {} if validate_only else (await self._features(deadline)).finalized
        answer, uncertain = await self._ask("UpdateFeatures", request, admin_pb2.UpdateFeaturesResponse, deadline)
        if uncertain and not answer.changes and not validate_only:
            after = (await self._features(deadline)).finalized
            return tuple(
                FeatureChange(name, before.get(name, 0), level)
                for name, level in sorted(after.items())
                if level != before.get(name, 0)
            )
        return tuple(FeatureChange(change.name, change.old_level, change.new_level) for change in answer.changes)

    async def _features(self, deadline: Deadline) -> admin_pb2.DescribeFeaturesResponse:
        request = admin_pb2.DescribeFeaturesRequest()
        answer, _ = await self._ask("DescribeFeatures", request, admin_pb2.DescribeFeaturesResponse, deadline)
        return answer

    async def _change(
        self,
        method: str,
        request: admin_pb2.AddRaftVoterRequest | admin_pb2.RemoveRaftVoterRequest,
        deadline: Deadline,
        done_already: type[KraftpyError],
        progress: Progress | None,
    ) -> tuple[QuorumVoter, ...]:
        began_ms = deadline.left_ms
        uncertain = False
        last: KraftpyError | None = None
        while True:
            share_ms = deadline.left_ms // len(self._nodes.config.addresses)  # that `Attempts` gives to one node
            request.timeout_ms = max(min(share_ms, ROUND_MS), 1)
            attempts = Attempts(self._nodes, ADMIN + method, request, admin_pb2.VoterChangeResponse, deadline)
            try:
                answer = await attempts.next()
            except (CallTimeoutError, NoBrokersAvailableError):
                if last is not None:
                    raise _waited(last, began_ms - deadline.left_ms) from None  # which says more than that time is up
                raise
            uncertain = uncertain or attempts.uncertain
            if answer.error == NO_ERROR:
                return tuple(
                    QuorumVoter(voter.node_id, shown_id(voter.directory_id), voter.host, voter.port)
                    for voter in answer.voters
                )
            error = error_for(answer.error, answer.error_message)
            if uncertain and isinstance(error, done_already):
                return await self._voters(deadline)
            if not isinstance(error, NotControllerError | RequestTimedOutError) or deadline.left_ms < ROUND_MS_MIN:
                raise _waited(error, began_ms - deadline.left_ms)
            uncertain, last = uncertain or isinstance(error, RequestTimedOutError), error
            if progress is not None:
                progress(error.message)
            await self._pause(deadline, error)

    async def _voters(self, deadline: Deadline) -> tuple[QuorumVoter, ...]:
        voters = (await self._described(deadline)).voters
        found = [QuorumVoter(each.node_id, shown_id(each.directory_id), each.host, each.port) for each in voters]
        return tuple(sorted(found))

    async def _described(self, deadline: Deadline) -> admin_pb2.DescribeQuorumResponse:
        request = admin_pb2.DescribeQuorumRequest()
        answer, _ = await self._ask("DescribeQuorum", request, admin_pb2.DescribeQuorumResponse, deadline)
        return answer

    async def _ask(self, method: str, request: Any, answer_type: type[M], deadline: Deadline) -> tuple[M, bool]:
        """An answer that is no refusal, and whether an earlier attempt may have done the work."""
        attempts: Attempts[Any] = Attempts(self._nodes, ADMIN + method, request, answer_type, deadline)
        while True:
            answer = await attempts.next()
            if answer.error == NO_ERROR:
                return answer, attempts.uncertain
            error = error_for(answer.error, answer.error_message)
            if not isinstance(error, NotControllerError | RequestTimedOutError):
                raise error
            attempts.uncertain = attempts.uncertain or isinstance(error, RequestTimedOutError)
            await self._pause(deadline, error)

    async def _pause(self, deadline: Deadline, reason: KraftpyError) -> None:
        if deadline.left_ms <= 0:
            raise reason
        self._nodes.pass_over()
        await asyncio.sleep(min(self._nodes.config.retry_backoff_ms, deadline.left_ms) / 1_000)


def _waited(error: KraftpyError, waited_ms: int) -> KraftpyError:
    """A node tells how long its own round took; `waited_ms` is that of all rounds."""
    return type(error)(re.sub(r"(?<=it was waited for )\d+(?= ms)", str(waited_ms), error.message))


def _node_features(node: admin_pb2.NodeFeatures) -> NodeFeatures:
    supported = {
        name: (node.supported[name].min_level, node.supported[name].max_level) for name in sorted(node.supported)
    }
    return NodeFeatures(node.node_id, node.in_service, node.is_voter, node.release, supported)
