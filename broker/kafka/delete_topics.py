"""DeleteTopics (key 20), versions 1–6: topics by name, and from version 6 also by id (KIP-516)."""

from uuid import UUID

from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.controller_calls import ask_controller
from broker.kafka.messages.delete_topics import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from broker.rpc.ports import ControllerLink
from kraftpy.error_codes import code_of
from kraftpy.errors import InvalidRequestError, KraftpyError, TopicDeletionDisabledError
from kraftpy.pb import admin_pb2

DISABLED_FROM = 3
"""From here on clients know TOPIC_DELETION_DISABLED."""


class DeleteTopics:
    """The handler."""

    def __init__(self, link: ControllerLink) -> None:
        self._link = link

    def api(self) -> Api:
        return message_api(
            ApiKey.DELETE_TOPICS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            DeleteTopicsRequest,
            DeleteTopicsResponse,
            self._respond,
        )

    async def _respond(self, request: DeleteTopicsRequest, header: Request) -> DeleteTopicsResponse:
        topics = request.topics or tuple(DeleteTopicState(name=name, topic_id=None) for name in request.topic_names)
        named = {slot: each.name for slot, each in enumerate(topics) if each.name is not None and each.topic_id is None}
        by_id = {slot: each.topic_id for slot, each in enumerate(topics) if each.name is None and each.topic_id}
        results = {
            slot: _refused(each, InvalidRequestError("a topic is named by its name or by its id, and not by both"))
            for slot, each in enumerate(topics)
            if slot not in named and slot not in by_id
        }
        wanted = admin_pb2.DeleteTopicsRequest(
            names=named.values(), topic_ids=[each.bytes for each in by_id.values()], timeout_ms=request.timeout_ms
        )
        try:
            answer = await ask_controller(
                self._link, "DeleteTopics", wanted, admin_pb2.TopicResults, request.timeout_ms
            )
            for slot, result in zip([*named, *by_id], answer.topics, strict=True):
                results[slot] = _told(topics[slot], result)
        except KraftpyError as error:
            if isinstance(error, TopicDeletionDisabledError) and header.version < DISABLED_FROM:
                error = InvalidRequestError(error.message)
            results |= {slot: _refused(topics[slot], error) for slot in [*named, *by_id]}
        return DeleteTopicsResponse(responses=tuple(results[slot] for slot in range(len(topics))))


def _told(asked: DeleteTopicState, result: admin_pb2.TopicResult) -> DeletableTopicResult:
    return DeletableTopicResult(
        name=result.name or asked.name,
        topic_id=UUID(bytes=result.topic_id) if result.topic_id else asked.topic_id,
        error=result.error,
        error_message=result.error_message or None,
    )


def _refused(asked: DeleteTopicState, error: KraftpyError) -> DeletableTopicResult:
    return DeletableTopicResult(
        name=asked.name, topic_id=asked.topic_id, error=code_of(error), error_message=error.message
    )
