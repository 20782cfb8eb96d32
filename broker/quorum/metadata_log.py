"""The quorum's log as the controller writes it: `broker.controller.shell.MetadataLog` over this node's replica."""

from collections.abc import Sequence

from broker.metadata.image import MetadataImage
from broker.metadata.records import MetadataRecord
from broker.quorum.entries import metadata_body
from broker.quorum.loader import MetadataLoader
from kraftpy.errors import NotControllerError
from kraftpy.runtime.ports import Clock
from raft.errors import NotLeader, Overloaded, Stopped
from raft.events import Epoch, Offset, VoterSet
from raft.node import RaftNode


class QuorumMetadataLog:
    """See the module's docstring."""

    def __init__(self, replica: RaftNode, loader: MetadataLoader, clock: Clock) -> None:
        self._replica = replica
        self._loader = loader
        self._clock = clock

    async def propose(self, records: Sequence[MetadataRecord], base_offset: int, epoch: int) -> int:
        body = metadata_body(records, self._clock.wall_ms())
        try:
            return await self._replica.propose(body, len(records), Epoch(epoch), Offset(base_offset))
        except (NotLeader, Overloaded, Stopped) as error:
            raise NotControllerError(str(error)) from None

    async def change_voters(self, voters: VoterSet, base_offset: int, epoch: int) -> int:
        try:
            return await self._replica.change_voters(voters, Epoch(epoch), Offset(base_offset))
        except (NotLeader, Overloaded, Stopped) as error:
            raise NotControllerError(str(error)) from None

    async def committed_image(self, epoch: int) -> MetadataImage:
        try:
            await self._replica.read_barrier()
            status = self._replica.status()
        except (NotLeader, Overloaded, Stopped) as error:
            raise NotControllerError(str(error)) from None
        if status.epoch != epoch:
            raise NotControllerError(f"epoch {epoch} is over; it is epoch {status.epoch} now")
        return self._loader.image
