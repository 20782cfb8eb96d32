"""Which replicas here cannot be served, as the controller has to hear it.

    failed directory, damaged or missing log ─→ note ─→ pending ─→ Control.ReportReplicas ─→ told

Invariants: what is noted stays pending until the controller has committed it. The heartbeat that lets this broker take
part leaves only when nothing is pending (`broker.lifecycle`), so that nothing is elected here that is not there.
"""

from collections.abc import Callable, Mapping
from itertools import islice

from broker.metadata.state import PartitionKey, Standing

REPLICAS_PER_REPORT_MAX = 5_000


class Availability:
    """What has been said of the replicas here, and what has not yet."""

    def __init__(self) -> None:
        self.on_news: Callable[[], None] = lambda: None
        self._offline: dict[PartitionKey, Standing] = {}  # as noted: offline, or damaged
        self._pending: dict[PartitionKey, Standing] = {}

    def is_offline(self, key: PartitionKey) -> bool:
        return key in self._offline

    def note(self, key: PartitionKey, standing: Standing) -> None:
        """The replica is offline, lost or damaged, or, after it was one of these, back.

        That it is damaged may be told again: something may follow now from what had no consequence before.
        """
        before = self._offline.pop(key, Standing.ONLINE)
        if standing in (Standing.OFFLINE, Standing.DAMAGED):
            self._offline[key] = standing
        is_change = before is not (Standing.ONLINE if standing is Standing.LOST else standing)
        if standing in (Standing.LOST, Standing.DAMAGED) or is_change:
            self._pending[key] = standing
            self.on_news()
        elif self._pending.get(key) is Standing.LOST:
            del self._pending[key]  # it was made anew: the controller has heard of it already

    def forget(self, key: PartitionKey) -> None:
        """No replica of it is here any more, and the controller should hold none for offline."""
        self._pending.pop(key, None)
        if self._offline.pop(key, None) is not None:
            self._pending[key] = Standing.ONLINE
            self.on_news()

    def pending(self) -> Mapping[PartitionKey, Standing]:
        """What the controller has to hear next, as much as fits into one report."""
        return dict(islice(self._pending.items(), REPLICAS_PER_REPORT_MAX))

    def told(self, standings: Mapping[PartitionKey, Standing]) -> None:
        """The controller has committed these; what was noted of them since stays pending."""
        for key, standing in standings.items():
            if self._pending.get(key) is standing:
                del self._pending[key]
