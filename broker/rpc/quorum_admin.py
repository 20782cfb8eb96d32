"""Admin's methods about the quorum's voters and about features, on the active controller.

Both ask for more than the controller's metadata: how far replicas have come, and what voters that are no brokers can
work with. Used through `broker.rpc.controller_admin`, whose table these methods join.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol
from uuid import UUID

from google.protobuf.message import Message

from broker.controller.commands import UpdateFeatures
from broker.metadata.features import RELEASES, NodeRelease
from broker.metadata.records import SupportedFeature
from broker.quorum.voter_changes import VoterChanges
from broker.rpc.ports import Commands, ImageSource, Quorum
from kraftpy.errors import InvalidRequestError, InvalidVoterKeyError, NotControllerError
from kraftpy.pb import admin_pb2
from raft.errors import RaftError
from raft.events import Voter, VoterSet

DESCRIBE_TIMEOUT_MS: Final = 1_000
CHANGE_TIMEOUT_MS: Final = 30_000  # for a request that does not say
CHANGE_TIMEOUT_MS_MAX: Final = 120_000  # while it waits, no other change is begun
ANSWER_MARGIN_MS: Final = 500  # so that our answer, which says what is missing, comes before the time-out of the asker

DescribeRelease = Callable[[Voter, int], Awaitable[NodeRelease | None]]
"""(voter, time-out in ms) → what its process can work with; None where it does not answer."""


class Changes(Protocol):
    """`broker.quorum.voter_changes.VoterChanges` is one."""

    async def add(self, node_id: int, directory_id: UUID | None, timeout_ms: int) -> VoterSet: ...

    async def remove(self, node_id: int, directory_id: UUID | None, timeout_ms: int, *, force: bool) -> VoterSet: ...


class QuorumAdmin:
    """See the module's docstring."""

    def __init__(
        self,
        controller: Commands,
        quorum: Quorum,
        view: ImageSource,
        changes: Changes | VoterChanges,
        describe_release: DescribeRelease,
    ) -> None:
        self._controller = controller
        self._quorum = quorum
        self._view = view
        self._changes = changes
        self._describe_release = describe_release
        self.methods: Mapping[str, tuple[type[Message], Callable[[Any], Awaitable[Message]]]] = {
            "AddRaftVoter": (admin_pb2.AddRaftVoterRequest, self._add_voter),
            "RemoveRaftVoter": (admin_pb2.RemoveRaftVoterRequest, self._remove_voter),
            "DescribeFeatures": (admin_pb2.DescribeFeaturesRequest, self._describe_features),
            "UpdateFeatures": (admin_pb2.UpdateFeaturesRequest, self._update_features),
        }

    # --- voters

    async def _add_voter(self, request: admin_pb2.AddRaftVoterRequest) -> Message:
        directory_id, timeout_ms = _directory_id(request.directory_id), _timeout_ms(request.timeout_ms)
        return _changed(await self._changes.add(_node_id(request.node_id), directory_id, timeout_ms))

    async def _remove_voter(self, request: admin_pb2.RemoveRaftVoterRequest) -> Message:
        directory_id, timeout_ms = _directory_id(request.directory_id), _timeout_ms(request.timeout_ms)
        changed = await self._changes.remove(_node_id(request.node_id), directory_id, timeout_ms, force=request.force)
        return _changed(changed)

    # --- features

    async def _describe_features(self, request: admin_pb2.DescribeFeaturesRequest) -> Message:
        voters = self._voters()
        others = await self._ask_others(voters)
        image = self._view.image
        response = admin_pb2.DescribeFeaturesResponse(finalized=image.features)
        for broker_id, broker in image.brokers.items():
            registration = broker.registration
            is_voter = any(voter.key.node_id == broker_id for voter in voters)
            _put_node(
                response,
                NodeRelease(broker_id, registration.release, registration.features),
                broker.is_active,
                is_voter,
            )
        for voter, told in others:
            _put_node(response, told or NodeRelease(voter.key.node_id, "", ()), told is not None, True)
        return response

    async def _update_features(self, request: admin_pb2.UpdateFeaturesRequest) -> Message:
        if request.release and request.levels:
            raise InvalidRequestError("name a release or levels, not both")
        if request.release and request.release not in RELEASES:
            raise InvalidRequestError(f"there is no release {request.release}; known are {', '.join(RELEASES)}")
        levels = (
            RELEASES[request.release]
            if request.release
            else {name: request.levels[name] for name in sorted(request.levels)}
        )
        others = await self._ask_others(self._voters())
        answered = tuple(told for _, told in others if told is not None)
        silent = tuple(voter.key.node_id for voter, told in others if told is None)
        updated = await self._controller.submit(UpdateFeatures(levels, answered, silent, request.validate_only))
        return admin_pb2.UpdateFeaturesResponse(
            changes=[
                admin_pb2.FeatureChange(name=change.name, old_level=change.old_level, new_level=change.new_level)
                for change in updated.changes
            ]
        )

    async def _ask_others(self, voters: tuple[Voter, ...]) -> list[tuple[Voter, NodeRelease | None]]:
        """The voters that are no brokers, each with its own word: the metadata does not know them."""
        brokers = self._view.image.brokers
        others = [voter for voter in voters if voter.key.node_id not in brokers]
        told = await asyncio.gather(*[self._describe_release(voter, DESCRIBE_TIMEOUT_MS) for voter in others])
        return list(zip(others, told, strict=True))

    def _voters(self) -> tuple[Voter, ...]:
        try:
            status = self._quorum.status()
        except RaftError as error:
            raise NotControllerError(str(error)) from None
        return status.voters.voters if status.voters is not None else ()


def _node_id(asked: int) -> int:
    if asked < 0:
        raise InvalidRequestError(f"{asked} is no node's id: they begin at 0")
    return asked


def _directory_id(raw: bytes) -> UUID | None:
    """Raises `InvalidVoterKeyError`."""
    if raw and len(raw) != 16:
        raise InvalidVoterKeyError(f"a directory id has 16 bytes, not {len(raw)}")
    return UUID(bytes=raw) if raw else None


def _timeout_ms(asked_ms: int) -> int:
    whole_ms = min(asked_ms, CHANGE_TIMEOUT_MS_MAX) if asked_ms > 0 else CHANGE_TIMEOUT_MS
    return whole_ms - min(ANSWER_MARGIN_MS, whole_ms // 2)


def _changed(voters: VoterSet) -> Message:
    return admin_pb2.VoterChangeResponse(
        voters=[
            admin_pb2.QuorumVoter(
                node_id=voter.key.node_id,
                directory_id=voter.key.directory_id.bytes,
                host=voter.host,
                port=voter.port,
            )
            for voter in voters.voters
        ]
    )


def _put_node(
    response: admin_pb2.DescribeFeaturesResponse, node: NodeRelease, in_service: bool, is_voter: bool
) -> None:
    described = response.nodes.add(node_id=node.node_id, in_service=in_service, is_voter=is_voter, release=node.release)
    feature: SupportedFeature
    for feature in node.features:
        described.supported[feature.name].min_level = feature.min_level
        described.supported[feature.name].max_level = feature.max_level
