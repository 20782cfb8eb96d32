"""The logs behind the replicas: which directory each is in, with which settings, and what becomes of those not wanted.

Invariants
- A log belongs to a topic by its id (partition.metadata): a directory named `orders-0` of a former topic `orders` is
  not the present one's, and is deleted before that is created. Where the id is lost or cannot be read, the inventory
  tells: nothing has counted of a log that it does not list there.
- A new log goes to the directory that holds the fewest and has not failed.
- A log that was here (the inventory says so) and is not found is never made anew while the cluster counts the replica
  as in sync: it is reported, as lost where its directory is there or is gone for good, as offline where the directory
  failed at start. Out of the ISR a lost one is made anew, empty, and copied from its leader.
- A log that is found elsewhere than the inventory says, while that directory cannot be read, is not served: a move may
  have left it behind.
- Of two logs of one name, which a crash in the middle of a move leaves, the one that goes further is the log.
- A directory that failed takes its partitions offline, all of them, once.
- A log that lacks, after a start, records that were committed (the disk has lost them) is reported as lost, and used
  once nobody counts on it: it catches up from its leader, or is elected uncleanly.
- A log that was found damaged is served by nobody, and reported as offline. While its replica is the last in sync, or
  eligible where nobody leads, it stays for an operator to look at; with a leader that has everything the eligible one
  is given up as lost. Once it is neither, it is deleted and copied anew from the leader.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from broker.metadata.broker_config import TOPIC_NAME_OF
from broker.metadata.delta import ConfigDelta
from broker.metadata.effective import log_config_fields, topic_value
from broker.metadata.image import MetadataImage
from broker.metadata.records import ResourceType, topic_resource
from broker.metadata.state import PartitionKey, PartitionState, Standing, TopicImage
from broker.replication.availability import Availability
from broker.replication.partition import Partition
from broker.replication.surroundings import Surroundings
from kraftpy.errors import KafkaStorageError
from log_store.config import LogConfig
from log_store.file_names import QUORUM_TOPIC
from log_store.inventory import Inventory
from log_store.log import Log
from log_store.log_directory import LogDirectory

logger = logging.getLogger(__name__)


class Host(Surroundings, Protocol):
    """Who is told of what happens to logs."""

    def flushed(self, partition: Partition) -> None: ...

    def gone_offline(self, partition: Partition) -> None: ...


class Hosting:
    """The partitions of this broker, and the directories that their logs are in."""

    def __init__(
        self,
        node_id: int,
        directories: Sequence[LogDirectory],
        log_config: LogConfig,
        topic_defaults: Mapping[str, str],
        host: Host,
        missing_directories: Callable[[], bool],
    ) -> None:
        """`missing_directories()`: whether one that is configured could not be opened, and is not among these."""
        self.partitions: dict[PartitionKey, Partition] = {}
        self._node_id = node_id
        self.directories = directories
        self._log_config = log_config
        self._topic_defaults = topic_defaults
        self._host = host
        self._last_config = (MetadataImage.EMPTY, "", log_config)
        self._by_log: dict[Log, Partition] = {}
        self._homes: dict[Log, LogDirectory] = {}
        self._unlisted: dict[Log, PartitionKey] = {}  # of which nothing has counted yet; listed by their first flush
        self._relaxed: dict[Log, None] = {}  # logs whose settings let appends count before they are flushed
        self._directory_ids: dict[LogDirectory, UUID] = {}
        self._missing_directories = missing_directories
        self.availability = Availability()
        first = directories[0]
        self._inventory = Inventory.load(first.disk, first.path, first.fence)
        for home in directories:
            properties = home.properties or home.read_properties()
            assert properties is not None, f"{home.path} has no meta.properties yet"
            self._directory_ids[home] = properties.directory_id
            _make_names_durable(home)
            home.before_counting = partial(self._list, home)
            home.flusher.on_flushed = self._flushed
            home.fence.on_failure(partial(self._failed, home))

    # --- replicas ----------------------------------------------------------------------------------------------------

    def host(self, image: MetadataImage, topic: str, key: PartitionKey, state: PartitionState) -> Partition | None:
        """Begin to hold a replica, with the log that is there or a new one. None: it cannot be served, or not yet."""
        name = f"{topic}-{key.partition}"
        try:
            home = self._claim_home(name, key)
            if self._withhold(image, name, key, state, home):
                return None
            if home is not None and name in home.failed_logs:
                logger.warning("the damaged log %s is copied anew from its leader: %s", name, home.failed_logs[name])
                home.delete_log(name)
            config = self._config_of(image, topic)
            home, log = self._log_in(home, name, key, config)
            if log.topic_id is None:
                home.restore_topic_id(name, key.topic_id)
        except KafkaStorageError as error:
            logger.error("the log of %s could not be opened: %s", name, error)
            self.availability.note(key, Standing.OFFLINE)
            return None
        self.availability.note(key, Standing.ONLINE)
        if log.end_offset > 0:
            self._inventory.note(key, self._directory_ids[home])
        elif self._inventory.where(key) != self._directory_ids[home]:  # new, or made anew after it was lost elsewhere
            self._unlisted[log] = key
        log.reconfigure(config)
        min_isr = self._min_isr_of(image, topic)
        watermark = home.high_watermarks.get(name, 0)
        partition = Partition(topic, key, log, state, min_isr, watermark, self._host)
        self.partitions[key] = partition
        self._by_log[log] = partition
        self._homes[log] = home
        self._note_flushing(log)
        return partition

    def _withhold(
        self, image: MetadataImage, name: str, key: PartitionKey, state: PartitionState, home: LogDirectory | None
    ) -> bool:
        """Note that the replica cannot be served, if so. `home`: where its log was found."""
        standing, reason = self._standing(image, name, key, state, home)
        log = None if home is None else home.logs.get(name)
        if standing is Standing.ONLINE and log is not None:
            log.recovery.short_of = 0  # nobody counts on what it lacks: it has to catch up, as any other replica
        if standing is not Standing.ONLINE:
            if not self.availability.is_offline(key):
                logger.error("the replica of %s here is %s: %s", name, standing.name.lower(), reason)
            self.availability.note(key, standing)
            if home is not None and not self._inventory.is_complete and self._inventory.where(key) is None:
                self._inventory.note(key, self._directory_ids[home])  # else it would be foreign to the next life
        return standing is not Standing.ONLINE

    def _standing(
        self, image: MetadataImage, name: str, key: PartitionKey, state: PartitionState, home: LogDirectory | None
    ) -> tuple[Standing, object]:
        """ONLINE: the log may be opened or made; else why not."""
        counts = self._node_id in state.isr or self._node_id in state.eligible_replicas  # as one that has everything
        listed = self._inventory.where(key)
        if home is None and listed is None:
            return Standing.ONLINE, ""  # it never was here
        if home is None or listed not in (None, self._directory_ids[home]):
            if self._is_away(listed):
                return Standing.OFFLINE, "it lies in a directory that cannot be read"
            if home is None and counts:
                return Standing.LOST, "its files are gone"
        if home is not None and name in home.failed_logs and counts:
            is_spare = self._node_id not in state.isr and image.is_active(state.leader)
            return Standing.LOST if is_spare else Standing.OFFLINE, home.failed_logs[name]
        log = None if home is None else home.logs.get(name)
        if log is not None and log.recovery.short_of and counts:
            ends = f"it ends at offset {log.end_offset}, and everything below {log.recovery.short_of} was committed"
            return Standing.LOST, ends
        return Standing.ONLINE, ""

    def _is_away(self, directory_id: UUID | None) -> bool:
        """Whether that directory cannot be read now, and may be another time."""
        home = next((home for home, id_ in self._directory_ids.items() if id_ == directory_id), None)
        return self._missing_directories() if home is None else home.failure is not None

    def _log_in(
        self, home: LogDirectory | None, name: str, key: PartitionKey, config: LogConfig
    ) -> tuple[LogDirectory, Log]:
        """The log in `home`, or where that is None a new one, in the emptiest directory that can make it."""
        while True:
            chosen = home or self._emptiest(name)
            try:
                # What is there already is given back as it is.
                log = chosen.create_log(name, config, topic_id=key.topic_id, wall_ms=self._host.wall_ms())
                return chosen, log
            except KafkaStorageError:
                if home is not None or chosen.failure is None:
                    raise  # else that directory is out, and the next one may do

    def delete(self, partition: Partition) -> None:
        """Hold it no more, and give its files back."""
        del self.partitions[partition.key]
        self._unlisted.pop(partition.log, None)
        self._by_log.pop(partition.log, None)
        self._relaxed.pop(partition.log, None)
        self.delete_log(self._homes.pop(partition.log), partition.log.name)
        self.forget(partition.key)

    def delete_unserved(self, key: PartitionKey, name: str) -> None:
        """No replica of it belongs here, and none was held: what could not be served of it goes, too."""
        for home in self.directories:
            if self._holds(home, name, key):
                self.delete_log(home, name)
        self.forget(key)

    def forget(self, key: PartitionKey) -> None:
        """No replica of it belongs here."""
        self._inventory.forget(key)
        self.availability.forget(key)

    def take_stock(self, image: MetadataImage) -> None:
        """Note every replica that belongs here and cannot be served: before this broker says that it has caught up."""
        for topic in image.topics.values():
            for index, state in enumerate(topic.partitions):
                if self._node_id in state.replicas:
                    key = PartitionKey(topic.topic_id, index)
                    name = f"{topic.name}-{index}"
                    self._withhold(image, name, key, state, self._claim_home(name, key))

    def delete_strays(self, image: MetadataImage) -> None:
        """Delete the logs that metadata knows nothing of here: their topics went while this node was down."""
        for home in self.directories:
            for name in list(home.logs):
                if name.startswith(QUORUM_TOPIC):
                    continue
                if not self._belongs_here(name, self._topic_of(image, home, name)):
                    logger.info("deleting the log %s: metadata does not know it here", name)
                    self.delete_log(home, name)
            for name in list(home.failed_logs):
                if not self._belongs_here(name, image.topic(name.rpartition("-")[0])):
                    self.delete_log(home, name)
            for name in list(home.futures):
                if not self._belongs_here(name, image.topic(name.rpartition("-")[0])) and home.failure is None:
                    self._try(partial(home.delete_future, name), f"the copy of {name} could not be deleted")
        for key in self._inventory.listed():
            topic = image.topics.get(key[0])
            if topic is None or not self._belongs_here(f"{topic.name}-{key[1]}", topic):
                self._inventory.forget(key)

    def _topic_of(self, image: MetadataImage, home: LogDirectory, name: str) -> TopicImage | None:
        """Whose the log is that was opened there."""
        topic_id = home.logs[name].topic_id
        if topic_id is not None:
            return image.topics.get(topic_id)
        topic_name, _, index = name.rpartition("-")
        topic = image.topic(topic_name)
        if topic is None or not self._holds(home, name, PartitionKey(topic.topic_id, int(index))):
            return None
        return topic

    def _belongs_here(self, name: str, topic: TopicImage | None) -> bool:
        index = int(name.rpartition("-")[2])
        return topic is not None and index < len(topic.partitions) and self._node_id in topic.partitions[index].replicas

    def delete_log(self, home: LogDirectory, name: str) -> None:
        """Delete a log that no replica here uses. A failure is told of, and is the directory's."""
        if home.failure is None:
            self._try(partial(home.delete_log, name), f"the log {name} could not be deleted")

    def _try(self, change: Callable[[], None], otherwise: str) -> None:
        """A failure is the directory's, which has told of it: the others go on."""
        try:
            change()
        except KafkaStorageError as error:
            logger.error("%s: %s", otherwise, error)

    def _claim_home(self, name: str, key: PartitionKey) -> LogDirectory | None:
        """Leave the log of `key`, well or damaged, in one directory at most, and give that one.

        Deletes logs of that name that are another topic's, and settles on one where a move has left two.
        """
        homes = []
        for home in self.directories:
            if self._holds(home, name, key):
                homes.append(home)
            elif name in home.logs or name in home.failed_logs:
                self.delete_log(home, name)
        return self._settle_on_one(homes, name, key) if len(homes) > 1 else next(iter(homes), None)

    def _holds(self, home: LogDirectory, name: str, key: PartitionKey) -> bool:
        """Whether the log of that name there, well or damaged, is that of `key`."""
        log = home.logs.get(name)
        if log is None and name not in home.failed_logs:
            return False
        topic_id = home.topic_id_of_failed(name) if log is None else log.topic_id
        if topic_id is not None:
            return topic_id == key.topic_id
        listed = self._inventory.where(key)
        if listed is None:
            return not self._inventory.is_complete
        return log is None or listed == self._directory_ids[home]

    def _settle_on_one(self, homes: Sequence[LogDirectory], name: str, key: PartitionKey) -> LogDirectory:
        """A crash in the middle of a move left two: the one that goes further has everything that was acknowledged.

        Deletes the other where the move had come to its end or it is damaged, else makes it a copy under way again.
        """
        listed = self._inventory.where(key)

        def reach(home: LogDirectory) -> tuple[bool, int, int, bool]:
            log = home.logs.get(name)
            end = (-1, -1) if log is None else (log.epochs.latest_epoch, log.end_offset)
            return log is not None, *end, self._directory_ids[home] == listed

        chosen = max(homes, key=reach)
        for home in homes:
            if home is not chosen:
                logger.warning("%s is in %s and in %s: the former goes further", name, chosen.path, home.path)
                if self._directory_ids[home] == listed or name in home.failed_logs:
                    self.delete_log(home, name)
                else:
                    self._try(partial(home.make_future, name), f"{name} could not become a copy again")
        return chosen

    def _emptiest(self, name: str) -> LogDirectory:
        """For a new log; not where a copy for one of that name, of a topic that was deleted, is still on its way."""
        usable = [home for home in self.directories if home.failure is None and name not in home.futures]
        if not usable:
            raise KafkaStorageError("every log directory has failed")
        return min(usable, key=lambda home: len(home.logs) + len(home.futures))

    def with_homes(self) -> list[tuple[Partition, LogDirectory]]:
        """The partitions whose logs are in use, and where these are."""
        return [(each, self._homes[each.log]) for each in self.partitions.values() if not each.is_offline]

    # --- directories that replicas move between ----------------------------------------------------------------------

    def directory_at(self, path: str) -> LogDirectory | None:
        """The directory that the operator calls `path`."""
        wanted = path.rstrip("/") or path
        return next((home for home in self.directories if wanted in (home.path, home.path.rstrip("/"))), None)

    def directory_id(self, home: LogDirectory) -> UUID:
        return self._directory_ids[home]

    def home_of(self, partition: Partition) -> LogDirectory:
        return self._homes[partition.log]

    def switch(self, partition: Partition, target: LogDirectory, log: Log) -> LogDirectory:
        """Let the partition go on with `log`, its equal in `target`; gives the directory of the old log, which stays.

        What was counted stays so: the new log is flushed at once, and nothing more counts before that is done. Then
        `arrived` is to be called.
        """
        old = partition.log
        assert (log.name, log.end_offset) == (old.name, old.end_offset), f"{log} is no copy of {old}"
        source = self._homes.pop(old)
        self._by_log.pop(old, None)
        self._relaxed.pop(old, None)
        self._unlisted.pop(old, None)
        log.reconfigure(old.config)
        log.delete_records(old.start_offset)
        partition.log = log
        self._by_log[log] = partition
        self._homes[log] = target
        target.adopt(log.name, log)
        self._inventory.note(partition.key, self._directory_ids[target])
        self._note_flushing(log)
        target.flusher.request(log)
        return source

    async def arrived(self, log: Log) -> None:
        """The log that a partition was switched to is durable: let the inventory that says where it is be so, too.

        And tell whoever waits for a flush. The old log's, that they waited for, is nobody's any more, however it ends;
        and where the copying has made everything durable, the new log needs none. Raises `KafkaStorageError`.
        """
        await self._inventory.settle()
        self._flushed(log)

    # --- settings ----------------------------------------------------------------------------------------------------

    def configure(self, image: MetadataImage, deltas: Iterable[ConfigDelta]) -> list[tuple[Partition, int]]:
        """Follow changed settings: of one topic, or of brokers, which hold for every topic that sets nothing.

        Gives min.insync.replicas of all that these concern: whoever knows their states too brings it in with them. What
        is about to be deleted keeps its own: without them more would count as committed.
        """
        minimums: list[tuple[Partition, int]] = []
        topics: dict[str, None] = {}
        everywhere = False
        for delta in deltas:
            if delta.resource.type is ResourceType.TOPIC:
                topics[delta.resource.name] = None
            elif delta.resource.name in ("", str(self._node_id)):
                everywhere |= any(name in TOPIC_NAME_OF for name in delta.changed_names())
        if not everywhere and not topics:
            return minimums
        for partition in self.partitions.values():
            if (everywhere or partition.topic in topics) and partition.key.topic_id in image.topics:
                partition.log.reconfigure(self._config_of(image, partition.topic))
                self._note_flushing(partition.log)
                self.flush(partition)  # what counted by a higher flush.messages waits already
                minimums.append((partition, self._min_isr_of(image, partition.topic)))
        return minimums

    def _config_of(self, image: MetadataImage, topic: str) -> LogConfig:
        """The partitions of a topic come one after the other as a rule, so the last answer is kept; that of topics
        which set nothing is the same for all."""
        key = topic if image.config(topic_resource(topic)) else ""
        known_image, known_key, config = self._last_config
        if known_image is not image or known_key != key:
            fields: dict[str, Any] = log_config_fields(image, topic, self._topic_defaults, self._node_id)
            config = replace(self._log_config, **fields)
            self._last_config = (image, key, config)
        return config

    def _min_isr_of(self, image: MetadataImage, topic: str) -> int:
        return int(topic_value(image, "min.insync.replicas", topic, self._topic_defaults).value)

    # --- flushing ----------------------------------------------------------------------------------------------------

    def flush(self, partition: Partition) -> None:
        """Flush its log soon, together with others; `Host.flushed` tells."""
        home = self._homes.get(partition.log)
        if home is not None:
            home.flusher.request(partition.log)

    async def make_durable(self, partition: Partition) -> None:
        """Flush its log, and wait for it. Raises `KafkaStorageError`."""
        await self._homes[partition.log].flusher.flush(partition.log)

    def partition_of(self, log: Log) -> Partition | None:
        """Whose log it is."""
        return self._by_log.get(log)

    def flush_overdue(self) -> None:
        """Of logs whose settings let appends count at once: flush those that have waited long enough."""
        if self._relaxed:
            for home in self.directories:
                logs = [log for log in self._relaxed if self._homes[log] is home]
                home.flusher.request_overdue(logs, self._host.now_ms())

    def _note_flushing(self, log: Log) -> None:
        if log.config.relaxed:
            self._relaxed[log] = None
        else:
            self._relaxed.pop(log, None)

    async def _list(self, home: LogDirectory, logs: Sequence[Log]) -> None:
        """Before anything of these counts: those whose first flush this was are noted as being here, durably."""
        for log in logs:
            key = self._unlisted.pop(log, None)
            if key is not None:
                self._inventory.note(key, self._directory_ids[home])
        await self._inventory.settle()

    def _flushed(self, log: Log) -> None:
        partition = self._by_log.get(log)
        if partition is not None:
            self._host.flushed(partition)

    # --- directories -------------------------------------------------------------------------------------------------

    @property
    def failed_directory_ids(self) -> tuple[UUID, ...]:
        return tuple(self._directory_ids[home] for home in self.directories if home.failure is not None)

    def _failed(self, home: LogDirectory, error: KafkaStorageError) -> None:
        logger.critical("%s", error)
        for partition in list(self.partitions.values()):
            if self._homes[partition.log] is home:
                self._host.gone_offline(partition)
                self.availability.note(partition.key, Standing.OFFLINE)

    async def write_high_watermarks(self) -> None:
        """What a restart may show before it has heard from its leader, or of its followers."""
        for home in self.directories:
            if home.failure is not None:
                continue
            try:
                await home.write_high_watermarks(partial(self._watermarks_in, home))
            except KafkaStorageError:
                continue  # `_failed` has been told

    def _watermarks_in(self, home: LogDirectory) -> dict[str, int]:
        return {
            partition.log.name: min(partition.high_watermark, partition.log.recovery_point)
            for partition in self.partitions.values()
            if self._homes[partition.log] is home
        }

    async def write_checkpoints(self) -> None:
        """Recovery points and start offsets."""
        for home in self.directories:
            if home.failure is None:
                try:
                    await home.write_checkpoints()
                except KafkaStorageError:
                    continue


def _make_names_durable(home: LogDirectory) -> None:
    """A log that a killed process had just made may have its name in the cache only, and would go with it."""
    try:
        home.disk.sync_directory(home.path)
    except OSError as error:
        home.fence.raise_for(error, "making the names of its logs durable")
