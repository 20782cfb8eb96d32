"""CreateTopics (key 19), versions 2–7: topics with their partitions, replicas and settings (KIP-4, 464, 525, 516).

Each topic stands or falls alone. From version 5 on the answer holds the topic's settings, as Java's Admin expects of
every topic that was created. The controller decides; this is a translation to and fro.
"""

from uuid import UUID

from broker.config import NodeConfig
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages.create_topics import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)
from broker.kafka.ports import ClusterView
from broker.kafka.setting_words import SOURCES
from broker.metadata.effective import Source, topic_values
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import InvalidConfigError, InvalidReplicaAssignmentError, InvalidRequestError, KraftpyError
from kraftpy.pb import admin_pb2

CONFIGS_FROM = 5


class CreateTopics:
    """The handler."""

    def __init__(self, link: ControllerLink, view: ClusterView, config: NodeConfig) -> None:
        self._link = link
        self._view = view
        self._config = config

    def api(self) -> Api:
        return message_api(
            ApiKey.CREATE_TOPICS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            CreateTopicsRequest,
            CreateTopicsResponse,
            self._respond,
        )

    async def _respond(self, request: CreateTopicsRequest, header: Request) -> CreateTopicsResponse:
        wanted = admin_pb2.CreateTopicsRequest(validate_only=request.validate_only, timeout_ms=request.timeout_ms)
        refused: dict[int, KraftpyError] = {}
        for slot, topic in enumerate(request.topics):
            try:
                wanted.topics.append(_new_topic(topic))
            except KraftpyError as error:
                refused[slot] = error
        try:
            answer = await ask_controller(
                self._link, "CreateTopics", wanted, admin_pb2.TopicResults, request.timeout_ms
            )
        except KraftpyError as error:
            refused = dict.fromkeys(range(len(request.topics)), error) | refused
            answer = admin_pb2.TopicResults()
        results = iter(answer.topics)
        return CreateTopicsResponse(
            topics=tuple(
                _refused(topic.name, refused[slot])
                if slot in refused
                else self._result(topic, next(results), header.version)
                for slot, topic in enumerate(request.topics)
            )
        )

    def _result(self, topic: CreatableTopic, result: admin_pb2.TopicResult, version: int) -> CreatableTopicResult:
        if result.error != NO_ERROR:
            return CreatableTopicResult(
                name=topic.name, error=result.error, error_message=result.error_message, configs=()
            )
        return CreatableTopicResult(
            name=topic.name,
            topic_id=UUID(bytes=result.topic_id) if result.topic_id else None,
            error_message=None,
            partitions=result.partitions,
            replication_factor=result.replication_factor,
            configs=self._configs(topic) if version >= CONFIGS_FROM else (),
        )

    def _configs(self, topic: CreatableTopic) -> tuple[CreatableTopicConfigs, ...]:
        """As they are, or, where the request was only to be checked, as they would be."""
        given = {each.name: each.value for each in topic.configs}
        defaults = self._config.controller.topic_defaults
        holds = topic_values(self._view.image, None, defaults, self._config.node_id)
        return tuple(
            CreatableTopicConfigs(
                name=name,
                value=given.get(name, effective.value),
                read_only=False,
                config_source=SOURCES[Source.TOPIC.value if name in given else effective.source.value],
                is_sensitive=False,
            )
            for name, effective in sorted(holds.items())
        )


def _refused(name: str, error: KraftpyError) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error=code_of(error), error_message=error.message, configs=())


def _new_topic(topic: CreatableTopic) -> admin_pb2.NewTopic:
    """Raises `KraftpyError` for what Kafka refuses and protobuf could not say."""
    if topic.assignments and (topic.partitions != -1 or topic.replication_factor != -1):
        raise InvalidRequestError("with an assignment of replicas, the two numbers must be -1")
    if any(each.value is None for each in topic.configs):
        raise InvalidConfigError("a topic's setting cannot be null")
    if len({each.name for each in topic.configs}) < len(topic.configs):
        raise InvalidConfigError("the request gives a setting twice")
    if any(not each.broker_ids for each in topic.assignments):
        raise InvalidReplicaAssignmentError("a partition needs at least one replica")
    return admin_pb2.NewTopic(
        name=topic.name,
        partitions=topic.partitions,
        replication_factor=topic.replication_factor,
        config={each.name: each.value or "" for each in topic.configs},
        assignment=[
            admin_pb2.ReplicaAssignment(partition=each.partition, replicas=each.broker_ids)
            for each in topic.assignments
        ],
    )
