"""DescribeConfigs (key 32), versions 1–4: settings, what holds and where it comes from (KIP-133, 226, 569).

Topics and brokers have settings; of another broker, that broker is asked (`broker.rpc.describing_configs`). A broker
has one logger (`root_logger`). Subscriptions to client metrics do not exist, and are described as Kafka describes those
that nobody made: without settings. Groups have no settings of their own: each is described with what this broker was
started with (`group.consumer.*`).

Synonyms are told for topics and for the broker that answers: every place where the value is set, the nearest first.
"""

import asyncio
from collections.abc import Iterator

from broker.config import NodeConfig
from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.messages.describe_configs import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DescribeConfigsRequest,
    DescribeConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
)
from broker.kafka.ports import ClusterView
from broker.kafka.root_logger import loggers
from broker.kafka.schema import decode, writer_of
from broker.kafka.setting_words import SOURCES, TYPES, UNKNOWN_TYPE, ResourceKind
from broker.kafka.wire import NO_TAGS, NO_THROTTLE, count
from broker.metadata import broker_config, topic_config
from broker.metadata.effective import EffectiveValue, broker_synonyms, topic_synonyms
from broker.metadata.setting import Kind
from broker.rpc.described_configs import own_entries
from broker.rpc.describing_configs import TURN_RESOURCES, DescribingConfigs
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidRequestError
from kraftpy.pb import admin_pb2
from kraftpy.runtime.ports import BadRequest, FrameParts

OF_GROUPS = ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms")
"""Settings of brokers that Kafka has for single groups too, without the first word (KIP-848)."""


class DescribeConfigs:
    """The handler."""

    def __init__(self, describing: DescribingConfigs, view: ClusterView, config: NodeConfig) -> None:
        self._describing = describing
        self._view = view
        self._config = config

    def api(self) -> Api:
        return Api(
            ApiKey.DESCRIBE_CONFIGS,
            VERSION_MIN,
            VERSION_MAX,
            FLEXIBLE_FROM,
            self.handle,
            request=DescribeConfigsRequest,
            response=DescribeConfigsResponse,
        )

    async def handle(self, header: Request) -> FrameParts:
        """Some resources in a turn of the loop: of thousands, even to write what is known takes too long."""
        version, flexible = header.version, header.version >= FLEXIBLE_FROM
        request = decode(DescribeConfigsRequest, header.body, version, flexible=flexible, exact=False)
        write = writer_of(DescribeConfigsResult, version, flexible)
        encoded = bytearray(NO_THROTTLE + count(len(request.resources), flexible=flexible))
        for number, result in enumerate(await self._results(request), 1):
            write(result, encoded)
            if number % TURN_RESOURCES == 0:
                await asyncio.sleep(0)
        if flexible:
            encoded += NO_TAGS
        return [encoded]

    async def _results(self, request: DescribeConfigsRequest) -> Iterator[DescribeConfigsResult]:
        """One for each resource, in the request's order, each made when it is asked for."""
        resources = [
            admin_pb2.ConfigResource(type=_asked_type(each), name=each.resource_name) for each in request.resources
        ]
        try:
            described = await self._describing.describe(admin_pb2.DescribeConfigsRequest(resources=resources))
        except BadRequest as error:
            message = str(error)
            return (_refused(each, message) for each in request.resources)
        of_groups = self._of_groups() if any(map(_is_group, request.resources)) else []
        return (
            self._result(asked, told, of_groups, request)
            for asked, told in zip(request.resources, described.resources, strict=True)
        )

    def _of_groups(self) -> list[admin_pb2.ConfigEntry]:
        return [each for each in own_entries(self._view.image, self._config) if each.name in OF_GROUPS]

    def _result(
        self,
        asked: DescribeConfigsResource,
        told: admin_pb2.DescribedConfigs,
        of_groups: list[admin_pb2.ConfigEntry],
        request: DescribeConfigsRequest,
    ) -> DescribeConfigsResult:
        error, message, entries = told.error, told.error_message, list(told.entries)
        if _is_group(asked):
            error, message, entries = NO_ERROR, "", of_groups
        elif asked.resource_type == ResourceKind.CLIENT_METRICS:
            error, message = NO_ERROR, ""
        elif asked.resource_type == ResourceKind.BROKER_LOGGER:
            entries = loggers(entries)
        wanted = asked.configuration_keys
        return DescribeConfigsResult(
            error=error,
            error_message=message or None,
            resource_type=asked.resource_type,
            resource_name=asked.resource_name,
            configs=tuple(
                self._entry(asked, entry, request)
                for entry in (() if error != NO_ERROR else entries)
                if not wanted or _name(asked, entry) in wanted
            ),
        )

    def _entry(
        self, asked: DescribeConfigsResource, entry: admin_pb2.ConfigEntry, request: DescribeConfigsRequest
    ) -> DescribeConfigsResourceResult:
        is_topic = asked.resource_type == ResourceKind.TOPIC
        setting = (topic_config if is_topic else broker_config).BY_NAME.get(entry.name)
        kind = TYPES[Kind.INT] if entry.name in OF_GROUPS else UNKNOWN_TYPE if setting is None else TYPES[setting.kind]
        return DescribeConfigsResourceResult(
            name=_name(asked, entry),
            value=entry.value if entry.HasField("value") else None,
            read_only=entry.read_only,
            config_source=SOURCES[entry.source],
            is_sensitive=False,
            synonyms=self._synonyms(asked, entry) if request.include_synonyms else (),
            config_type=kind,
            documentation=entry.documentation if request.include_documentation else None,
        )

    def _synonyms(
        self, asked: DescribeConfigsResource, entry: admin_pb2.ConfigEntry
    ) -> tuple[DescribeConfigsSynonym, ...]:
        image, node_id = self._view.image, self._config.node_id
        defaults = self._config.controller.topic_defaults
        found: list[EffectiveValue] = []
        if asked.resource_type == ResourceKind.TOPIC and entry.name in topic_config.BY_NAME:
            found = topic_synonyms(image, entry.name, asked.resource_name, defaults, node_id)
        elif asked.resource_name == str(node_id) and entry.name in broker_config.TOPIC_NAME_OF:
            found = broker_synonyms(image, entry.name, node_id, defaults)
        if asked.resource_type == ResourceKind.BROKER_LOGGER:
            return ()
        if not found:
            return (DescribeConfigsSynonym(name=entry.name, value=entry.value, source=SOURCES[entry.source]),)
        return tuple(
            DescribeConfigsSynonym(name=each.setting.name, value=each.value, source=SOURCES[each.source.value])
            for each in found
        )


def _asked_type(asked: DescribeConfigsResource) -> int:
    """The level of a broker's logger is a setting of the broker."""
    is_logger = asked.resource_type == ResourceKind.BROKER_LOGGER and bool(asked.resource_name)
    return ResourceKind.BROKER if is_logger else asked.resource_type


def _is_group(asked: DescribeConfigsResource) -> bool:
    return asked.resource_type == ResourceKind.GROUP and bool(asked.resource_name)


def _refused(asked: DescribeConfigsResource, message: str) -> DescribeConfigsResult:
    return DescribeConfigsResult(
        error=code_of(InvalidRequestError),
        error_message=message,
        resource_type=asked.resource_type,
        resource_name=asked.resource_name,
        configs=(),
    )


def _name(asked: DescribeConfigsResource, entry: admin_pb2.ConfigEntry) -> str:
    """As `asked` calls it."""
    return entry.name.removeprefix("group.") if asked.resource_type == ResourceKind.GROUP else entry.name
