"""How compaction stands on this node, for metrics and for health checks."""

from broker.maintenance.compactor import Compactor, uncleanable_sentence
from broker.metrics import Metric
from kraftpy.runtime.ports import Clock


class ObservedCompaction:
    """That of one compactor. `directories` are all of the node's, so that none is missing where all is well."""

    def __init__(self, compactor: Compactor, clock: Clock, directories: list[str]) -> None:
        self._compactor = compactor
        self._clock = clock
        self._directories = directories

    def metrics(self) -> list[Metric]:
        compactor = self._compactor
        found = compactor.figures.metrics(self._clock.monotonic_ms())
        found.append(Metric("kraftpy_log_cleaner_process_deaths_total", compactor.process_deaths))
        counts = dict.fromkeys(self._directories, 0)
        sizes = dict.fromkeys(self._directories, 0)
        for log in compactor.uncleanable:
            path = log.directory.rpartition("/")[0]
            counts[path] = counts.get(path, 0) + 1
            sizes[path] = sizes.get(path, 0) + log.size_bytes
        for path, count in counts.items():
            labels = {"logDirectory": path}
            found.append(Metric("kafka_log_logcleanermanager_uncleanable_partitions_count", count, labels))
            found.append(Metric("kafka_log_logcleanermanager_uncleanable_bytes", sizes[path], labels))
        return found

    def problems(self) -> list[str]:
        return [uncleanable_sentence(log, why) for log, why in self._compactor.uncleanable.items()]
