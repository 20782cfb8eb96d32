"""The part of the asyncio admin that speaks of topics, their records and settings."""

from collections.abc import Iterable, Mapping, Sequence

from kraftpy.client.admin_calls import CALL_S, AdminCalls, passing_error, raise_for
from kraftpy.client.admin_values import (
    ConfigEntry,
    ConfigResource,
    CreatedTopic,
    NewTopic,
    PartitionDescription,
    TopicDescription,
    TopicListing,
)
from kraftpy.client.any_node import Attempts, Deadline
from kraftpy.client.cluster_view import TopicView
from kraftpy.client.metadata import view_of
from kraftpy.client.values import TopicPartition, names_of
from kraftpy.client.wire import ADMIN, CLIENT, Message, as_kraftpy_error
from kraftpy.client.wire_numbers import milliseconds, wire_numbers
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    InvalidPartitionsError,
    KraftpyError,
    StaleMetadataError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import admin_pb2, client_pb2
from kraftpy.runtime.ports import Address, TransportError
from kraftpy.shown_ids import shown_id

Refusals = type[KraftpyError] | tuple[type[KraftpyError], ...]


class AdminTopics(AdminCalls):
    """The calls of `kraftpy.aio.Admin` about topics."""

    # --- topics

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int | None = None,
        replication_factor: int | None = None,
        config: Mapping[str, str] | None = None,
        assignment: Mapping[int, Sequence[int]] | None = None,
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> CreatedTopic:
        """Create one topic. None takes the cluster's default.

        Raises `TopicAlreadyExistsError`, `InvalidTopicError`, `InvalidPartitionsError`,
        `InvalidReplicationFactorError`, `InvalidReplicaAssignmentError`, `InvalidConfigError`.
        """
        placed = {index: tuple(replicas) for index, replicas in (assignment or {}).items()}
        topic = NewTopic(name, partitions, replication_factor, config or {}, placed)
        return (await self.create_topics([topic], validate_only=validate_only, timeout=timeout))[0]

    async def create_topics(
        self, topics: Iterable[NewTopic], *, validate_only: bool = False, timeout: float = CALL_S
    ) -> list[CreatedTopic]:
        """Create topics, each on its own: the first that is refused is raised after all have been tried."""
        deadline = Deadline(self._world_ports(), timeout)
        request = admin_pb2.CreateTopicsRequest(validate_only=validate_only, timeout_ms=milliseconds(timeout))
        with wire_numbers():
            for topic in topics:
                new = request.topics.add(
                    name=topic.name,
                    partitions=-1 if topic.partitions is None else topic.partitions,
                    replication_factor=-1 if topic.replication_factor is None else topic.replication_factor,
                    config={name: str(value) for name, value in topic.config.items()},
                )
                for partition, replicas in topic.assignment.items():
                    new.assignment.add(partition=partition, replicas=replicas)
        done_already = None if validate_only else TopicAlreadyExistsError
        results, forgiven = await self._change_topics("CreateTopics", request, deadline, done_already)
        return [
            _created(await self._described_at_last(result.name, deadline))
            if result.name in forgiven
            else CreatedTopic(
                result.name,
                shown_id(result.topic_id),
                result.partitions,
                result.replication_factor,
                tuple(result.warnings),
            )
            for result in results
        ]

    async def delete_topic(self, name: str, *, timeout: float = CALL_S) -> None:
        """Delete one topic. Raises `UnknownTopicOrPartitionError`, `TopicDeletionDisabledError`."""
        await self.delete_topics([name], timeout=timeout)

    async def delete_topics(self, names: str | Iterable[str], *, timeout: float = CALL_S) -> None:
        """Delete topics, each on its own: the first that is refused is raised after all have been tried."""
        deadline = Deadline(self._world_ports(), timeout)
        request = admin_pb2.DeleteTopicsRequest(names=names_of(names), timeout_ms=milliseconds(timeout))
        await self._change_topics("DeleteTopics", request, deadline, UnknownTopicOrPartitionError)

    async def create_partitions(
        self,
        name: str,
        total: int,
        *,
        assignment: Mapping[int, Sequence[int]] | None = None,
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> None:
        """Raise a topic's number of partitions to `total`. Raises `InvalidPartitionsError`: it never goes down."""
        deadline = Deadline(self._world_ports(), timeout)
        request = admin_pb2.CreatePartitionsRequest(validate_only=validate_only, timeout_ms=milliseconds(timeout))
        with wire_numbers():
            new = request.topics.add(name=name, total=total)
            for partition, replicas in (assignment or {}).items():
                new.assignment.add(partition=partition, replicas=replicas)
        done_already = None if validate_only else InvalidPartitionsError
        _, forgiven = await self._change_topics("CreatePartitions", request, deadline, done_already)
        for failure in forgiven.values():
            while (count := len((await self._described_at_last(name, deadline)).partitions)) < total:
                self._nodes().pass_over()  # which has not heard of it yet
                await self._pause(deadline, failure)
            if count != total:
                raise failure

    async def list_topics(self, *, include_internal: bool = False, timeout: float = CALL_S) -> list[TopicListing]:
        """All topics, sorted by name."""
        topics = await self._views([], timeout)
        return [
            TopicListing(
                view.name,
                shown_id(view.topic_id),
                view.internal,
                len(view.partitions),
                max((len(partition.replicas) for partition in view.partitions), default=0),
            )
            for view in sorted(topics, key=lambda view: view.name)
            if include_internal or not view.internal
        ]

    async def describe_topic(self, name: str, *, timeout: float = CALL_S) -> TopicDescription:
        """One topic. Raises `UnknownTopicOrPartitionError`."""
        return (await self.describe_topics([name], timeout=timeout))[0]

    async def describe_topics(
        self, names: str | Iterable[str] | None = None, *, timeout: float = CALL_S
    ) -> list[TopicDescription]:
        """These topics in this order, or all of them sorted by name. Raises `UnknownTopicOrPartitionError`."""
        wanted = None if names is None else names_of(names)
        if wanted is not None and not wanted:
            return []
        found = {view.name: _described(view) for view in await self._views(wanted or [], timeout)}
        return [found[name] for name in (sorted(found) if wanted is None else wanted)]

    async def delete_records(
        self, before: Mapping[tuple[str, int], int], *, timeout: float = CALL_S
    ) -> dict[TopicPartition, int]:
        """Delete what lies before an offset (-1: everything acknowledged), by partition; the new first offsets.

        Raises `OffsetOutOfRangeError`, `UnknownTopicOrPartitionError`, `PolicyViolationError` for a topic that only
        compacts.
        """
        left = {TopicPartition(*place): offset for place, offset in before.items()}
        done: dict[TopicPartition, int] = {}
        deadline = Deadline(self._world_ports(), timeout)
        for place in left:  # all are there, or nothing is deleted: it would not come back
            await self._check_there(place, deadline)
        while left:
            last = await self._delete_records_once(left, done, deadline)
            if left:
                await self._pause(deadline, last)
        return {TopicPartition(*place): done[TopicPartition(*place)] for place in before}

    # --- settings

    async def describe_configs(
        self, resources: Iterable[ConfigResource], *, timeout: float = CALL_S
    ) -> dict[ConfigResource, dict[str, ConfigEntry]]:
        """The settings of topics and brokers with their sources, by name."""
        return await self._configs(resources, timeout)

    async def _configs(
        self, resources: Iterable[ConfigResource], timeout: float, *, gone: Refusals = ()
    ) -> dict[ConfigResource, dict[str, ConfigEntry]]:
        """`gone`: resources that are refused so are left out."""
        request = admin_pb2.DescribeConfigsRequest()
        for resource in resources:
            request.resources.add(type=resource.type, name=resource.name)
        answer = await self._ask("DescribeConfigs", request, admin_pb2.DescribeConfigsResponse, timeout)
        described = {}
        for part in answer.resources:
            if part.error != NO_ERROR and isinstance(error_for(part.error), gone):
                continue
            raise_for(part.error, part.error_message, part.resource.name)
            described[ConfigResource(part.resource.type, part.resource.name)] = {
                entry.name: ConfigEntry(
                    entry.name,
                    entry.value if entry.HasField("value") else None,
                    entry.source,
                    entry.read_only,
                    entry.documentation,
                )
                for entry in part.entries
            }
        return described

    async def alter_configs(
        self,
        changes: Mapping[ConfigResource, Mapping[str, str | None]],
        *,
        validate_only: bool = False,
        timeout: float = CALL_S,
    ) -> tuple[str, ...]:
        """Set settings, or unset those whose value is None; others stay as they are. Gives warnings, if any.

        Raises `InvalidConfigError`, `UnknownTopicOrPartitionError`, `BrokerIdNotRegisteredError`: after all other
        resources were changed.
        """
        return await self._alter_configs(changes, timeout, validate_only=validate_only)

    async def _alter_configs(
        self,
        changes: Mapping[ConfigResource, Mapping[str, str | None]],
        timeout: float,
        *,
        validate_only: bool = False,
        gone: Refusals = (),
    ) -> tuple[str, ...]:
        """`gone`: resources that are refused so are passed over."""
        request = admin_pb2.AlterConfigsRequest(validate_only=validate_only, timeout_ms=milliseconds(timeout))
        for resource, values in changes.items():
            change = request.resources.add(
                set={name: str(value) for name, value in values.items() if value is not None},
                unset=[name for name, value in values.items() if value is None],
            )
            change.resource.type, change.resource.name = resource.type, resource.name
        answer = await self._ask("AlterConfigs", request, admin_pb2.AlterConfigsResponse, timeout)
        for part in answer.resources:
            if part.error == NO_ERROR or not isinstance(error_for(part.error), gone):
                raise_for(part.error, part.error_message, part.resource.name)
        return tuple(warning for part in answer.resources for warning in part.warnings)

    # --- asking

    async def _change_topics(
        self, method: str, request: Message, deadline: Deadline, done_already: type[KraftpyError] | None
    ) -> tuple[list[admin_pb2.TopicResult], dict[str, KraftpyError]]:
        """Topic by topic results, and what was forgiven: `done_already` where an earlier attempt may have done it."""
        attempts = Attempts(self._nodes(), ADMIN + method, request, admin_pb2.TopicResults, deadline)
        while True:
            answer = await attempts.next()
            error = passing_error(answer)
            if error is None:
                break
            await self._try_again(attempts, answer, error, deadline)
        forgiven: dict[str, KraftpyError] = {}
        for result in answer.topics:
            if result.error == NO_ERROR:
                continue
            failure = error_for(result.error, result.error_message)
            if not attempts.uncertain or done_already is None or not isinstance(failure, done_already):
                raise failure
            forgiven[result.name] = failure
        return list(answer.topics), forgiven

    async def _described_at_last(self, name: str, deadline: Deadline) -> TopicDescription:
        """A topic that there is, though the node that is asked may not have heard of it yet."""
        while True:
            try:
                return await self.describe_topic(name, timeout=deadline.left_s)
            except UnknownTopicOrPartitionError as error:
                self._nodes().pass_over()
                await self._pause(deadline, error)

    async def _views(self, names: Sequence[str], timeout: float) -> list[TopicView]:
        request = client_pb2.MetadataRequest(topics=names, all_topics=not names, client_id=self._config.client_id)
        answer = await self._ask("GetMetadata", request, client_pb2.MetadataResponse, timeout, service=CLIENT)
        for topic in answer.topics:
            raise_for(topic.error, "", topic.name)
        return [view_of(topic) for topic in answer.topics]

    async def _check_there(self, place: TopicPartition, deadline: Deadline) -> None:
        """Raises `UnknownTopicOrPartitionError` where the topic has no such partition, in a new view of it either."""
        metadata = self._known_metadata()
        if place.partition in range(len((await metadata.topic(place.topic, deadline.left_ms, 0)).partitions)):
            return
        await metadata.updated(deadline.left_ms)
        count = len((await metadata.topic(place.topic, deadline.left_ms, 0)).partitions)
        if place.partition not in range(count):
            raise UnknownTopicOrPartitionError(
                f"topic {place.topic} has partitions 0 to {count - 1}, not {place.partition}"
            )

    async def _delete_records_once(
        self, left: dict[TopicPartition, int], done: dict[TopicPartition, int], deadline: "Deadline"
    ) -> KraftpyError | None:
        """Ask each leader once; what was done moves from `left` to `done`."""
        ports, metadata = self._world_ports(), self._known_metadata()
        for topic in dict.fromkeys(place.topic for place in left):
            await metadata.topic(topic, deadline.left_ms, 0)
        requests: dict[Address, admin_pb2.DeleteRecordsRequest] = {}
        for place, offset in left.items():
            leader = metadata.leader(*place)
            if leader is not None:
                address = metadata.view.brokers[leader.node_id]
                request = requests.setdefault(address, admin_pb2.DeleteRecordsRequest(timeout_ms=deadline.left_ms))
                with wire_numbers():
                    request.partitions.add(topic=place.topic, partition=place.partition, before_offset=offset)
        last: KraftpyError | None = None
        for address, request in requests.items():
            try:
                answer = await ports.call(
                    address, ADMIN + "DeleteRecords", request, admin_pb2.DeleteRecordsResponse, deadline.left_ms
                )
            except TransportError as error:
                last = as_kraftpy_error(error)
                continue
            for part in answer.partitions:
                place = TopicPartition(part.topic, part.partition)
                if part.error == NO_ERROR:
                    done[place] = part.low_watermark
                    left.pop(place, None)
                    continue
                last = error_for(part.error, f"{place}: {error_for(part.error).message}")
                if not isinstance(last, StaleMetadataError):
                    raise last
        if left:
            await metadata.updated(deadline.left_ms)
        return last


def _created(found: TopicDescription) -> CreatedTopic:
    """What the answer would have said that was lost, without its warnings."""
    return CreatedTopic(found.name, found.topic_id, len(found.partitions), found.replication_factor)


def _described(view: TopicView) -> TopicDescription:
    partitions = tuple(
        PartitionDescription(
            partition.partition,
            partition.leader,
            partition.leader_epoch,
            partition.replicas,
            partition.isr,
            partition.offline_replicas,
            partition.adding_replicas,
            partition.removing_replicas,
            partition.eligible_replicas,
            partition.last_known_elr,
        )
        for partition in view.partitions
    )
    return TopicDescription(view.name, shown_id(view.topic_id), view.internal, partitions)
