"""The quorum's state machine on this node: committed entries become metadata images, in the order of the log.

Every node has one, voter or observer. It publishes each new image with the delta from the one before, synchronously, so
whoever listens acts on every step and on nothing else.

Invariants: images follow each other without a gap, and `image.end_offset` is how far this node has applied the log,
control records included; a snapshot is of exactly the image that stood when it was asked for.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from broker.metadata.codec import UnsupportedMetadataError
from broker.metadata.delta import MetadataDelta
from broker.metadata.features import SUPPORTED_FEATURES, unsupported
from broker.metadata.image import ImageLoader, MetadataImage, delta_between
from broker.metadata.records import MetadataRecord
from broker.metadata.sizes import in_batches
from broker.quorum.entries import SAME_EVERYWHERE_MS, metadata_body, metadata_records
from kraftpy.errors import CorruptRecordError
from kraftpy.record import HEADER_BYTES, check_batch, read_header
from raft.events import Entry, Epoch, NodeId, SnapshotId

SNAPSHOT_RECORDS_MAX = 500  # in one batch: about 10 ms of encoding, and as much of decoding
SNAPSHOT_BATCH_BYTES_MAX = 1 << 20  # settings may be long, and no reader takes a batch above 64 MiB

Published = Callable[[MetadataImage, MetadataDelta], None]


class MetadataLoader:
    """`raft.ports.StateMachine`. The `on_…` are set by whoever builds the node, before the quorum starts."""

    def __init__(self, published: Published) -> None:
        self.image = MetadataImage.EMPTY
        self.epoch = 0
        self.leader_id: int | None = None
        self.previous_leader_id: int | None = None
        """Who led before the present leader or, while there is none, whoever led last."""
        self.on_leadership: Callable[[int], None] = _ignore
        """This node leads the quorum in that epoch, and everything earlier is applied."""
        self.on_resignation: Callable[[], None] = lambda: None
        self.on_leader_changed: Callable[[], None] = lambda: None
        self._published = published
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    # --- the state machine ---

    def apply(self, entries: Sequence[Entry]) -> None:
        """One image for all of `entries`: nothing between them can have been seen by anybody."""
        records: list[MetadataRecord] = []
        epoch = self.image.epoch  # of what is below the entry
        for entry in entries:
            if isinstance(entry.body, bytes):
                records += metadata_records(entry.body)
            else:
                self._advance(records, entry.offset, epoch)
                self._advance(records, entry.end_offset, entry.epoch)
            epoch = entry.epoch
        self._advance(records, entries[-1].end_offset, epoch)

    def _advance(self, records: list[MetadataRecord], end_offset: int, epoch: int) -> None:
        """Records stand at the offsets up to `end_offset`, one each; the image needs them without a gap."""
        if end_offset == self.image.end_offset:
            return
        image, delta = self.image.apply(records, end_offset, epoch)
        records.clear()
        self._publish(image, delta)

    def snapshot(self) -> Iterator[bytes]:
        for chunk in in_batches(self.image.records(), SNAPSHOT_RECORDS_MAX, SNAPSHOT_BATCH_BYTES_MAX):
            yield metadata_body(chunk, SAME_EVERYWHERE_MS)

    async def load_snapshot(self, snapshot: SnapshotId, chunks: Iterator[bytes]) -> None:
        """Raises `CorruptRecordError`, `UnsupportedMetadataError`."""
        loader = ImageLoader()
        for batch in _whole_batches(chunks):
            if not check_batch(batch).is_control:
                loader.add(metadata_records(batch))
            await asyncio.sleep(0)
        image = loader.finish(snapshot.end_offset, snapshot.epoch)
        self._publish(image, delta_between(self.image, image))

    def leader_changed(self, epoch: Epoch, leader_id: NodeId | None) -> None:
        if self.leader_id is not None and self.leader_id != leader_id:
            self.previous_leader_id = self.leader_id
        self.epoch = epoch
        self.leader_id = leader_id
        self.on_leader_changed()

    def became_leader(self, epoch: Epoch) -> None:
        self.on_leadership(epoch)

    def resigned(self, epoch: Epoch) -> None:
        self.on_resignation()

    # --- for others on this node ---

    async def wait_applied(self, end_offset: int) -> None:
        """Return once everything below `end_offset` is in the image."""
        if self.image.end_offset < end_offset:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((end_offset, waiter))
            await waiter

    def _publish(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """Raises `UnsupportedMetadataError` for what this release cannot work with: nobody acts on such an image."""
        if delta.features:
            wrong = unsupported(image.features, SUPPORTED_FEATURES)
            if wrong:
                raise UnsupportedMetadataError(f"{'; '.join(wrong)}: upgrade this node")
        self.image = image
        self._published(image, delta)
        reached = [waiter for end_offset, waiter in self._waiters if end_offset <= image.end_offset]
        if reached:
            self._waiters = [each for each in self._waiters if each[0] > image.end_offset]
            for waiter in reached:
                if not waiter.done():
                    waiter.set_result(None)


def _whole_batches(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The batches in a stream that is cut anywhere. Raises `CorruptRecordError` where it ends inside one."""
    kept = b""
    for chunk in chunks:
        data = kept + chunk
        position = 0
        while len(data) - position >= HEADER_BYTES:
            length = read_header(data, position).size_bytes
            if length > len(data) - position:
                break
            yield data[position : position + length]
            position += length
        kept = data[position:]
    if kept:
        raise CorruptRecordError(f"a snapshot of the metadata breaks off {len(kept)} bytes after its last whole batch")


def _ignore(_: int) -> None:
    return
