"""Who is around a partition: the broker that it is on, and those who read it."""

from typing import TYPE_CHECKING, Protocol

from broker.replication.isr import BrokerLiveness

if TYPE_CHECKING:
    from broker.metadata.state import PartitionKey
    from broker.replication.partition import Partition


class Watcher(Protocol):
    """Somebody who reads the partition, and may be waiting for more of it."""

    def log_end_moved(self) -> None: ...

    def watermark_moved(self) -> None: ...

    def changed(self) -> None:
        """Something else that its next read will show: another leader, another log start."""

    def vouch(self) -> None:
        """Of a follower that rests at the log's end: say when it was last heard of (`Partition.rested_until`)."""


class Surroundings(Protocol):
    """What a partition needs of the broker that it is on."""

    @property
    def node_id(self) -> int: ...

    @property
    def lag_max_ms(self) -> int: ...

    def now_ms(self) -> int: ...

    def wall_ms(self) -> int: ...

    def liveness(self, broker_id: int, key: "PartitionKey") -> BrokerLiveness | None:
        """What metadata says of the broker, and of its replica of that partition."""

    def propose(self, partition: "Partition") -> None:
        """Its leadership has a proposal for the controller."""

    def log_moved(self, partition: "Partition") -> None:
        """Its log was appended to, or cut: it wants a flush, if one is due, and followers may lag."""

    def watermark_moved(self, partition: "Partition") -> None: ...

    def damaged(self, partition: "Partition") -> None:
        """New damage was noted in its log."""

    def suspected(self, partition: "Partition", offset: int | None) -> None:
        """Its log could not be read at `offset`, or (None) somewhere: somebody should look how much is damaged."""
