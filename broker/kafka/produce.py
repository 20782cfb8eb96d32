"""Produce (key 0), versions 0–13 advertised, 3–13 served: records to their leaders, idempotent and transactional too.

Versions 0–2 carried formats of records that are gone. They are advertised as Apache Kafka does, because librdkafka
before 2.11.1 looks for them and otherwise drops compression without a word (KAFKA-18659); whoever really speaks them is
disconnected.

With acks=0 nothing is answered, and a connection whose request failed is closed, which is the only way to tell. Errors
of single records (KIP-467) are not told, as a batch is opaque here; the text of a batch's error is.
"""

from collections.abc import Sequence

from broker.kafka.api import Api, ApiKey, Request
from broker.kafka.endpoints import AdvertisedEndpoint, EndpointOf, no_endpoint
from broker.kafka.ports import ClusterView, Replicas
from broker.kafka.produce_messages import (
    FLEXIBLE_FROM,
    TRANSACTIONS_V2_FROM,
    VERSION_MAX,
    VERSION_MIN,
    ZSTD_FROM,
    AnsweredPartition,
    DecodedProduce,
    ProducedRecords,
    decode_request,
    encode_response,
)
from broker.kafka.wire import ProtocolError
from broker.replication.fetch_types import CurrentLeader
from broker.replication.producing import NO_ACKS, Batch, Produced
from broker.replication.verification import Transaction
from broker.rpc.limits import WAIT_MAX_MS
from kraftpy.error_codes import NO_ERROR, code_of
from kraftpy.errors import (
    InvalidRecordError,
    InvalidTxnStateError,
    KraftpyError,
    TransactionAbortableError,
    UnknownTopicIdError,
    UnsupportedCompressionTypeError,
)
from kraftpy.record import HEADER_BYTES, Compression, read_header
from kraftpy.record.header import MAGIC, MAGIC_POSITION
from kraftpy.runtime.ports import Buffer, FrameParts

ADVERTISED_FROM = 0
ABORTABLE_FROM = 11
"""From here on producers know TRANSACTION_ABORTABLE (KIP-890)."""
_NOBODY = CurrentLeader(-1, -1)


class Produce:
    """The handler."""

    def __init__(self, replicas: Replicas, view: ClusterView, endpoint_of: EndpointOf = no_endpoint) -> None:
        self._replicas = replicas
        self._view = view
        self._endpoint_of = endpoint_of

    def api(self) -> Api:
        return Api(
            ApiKey.PRODUCE,
            VERSION_MIN,
            VERSION_MAX,
            FLEXIBLE_FROM,
            self.handle,
            advertised_from=ADVERTISED_FROM,
            request_bytes_max=2**31 - 1,  # what the listener lets in
        )

    async def handle(self, request: Request) -> FrameParts:
        version = request.version
        decoded = decode_request(version, request.body)
        answers = await self._produce(decoded, version)
        if decoded.acks != NO_ACKS:
            return [encode_response(version, answers, self._endpoints(answers))]
        failed = next((answer for answer in answers if answer.error != NO_ERROR), None)
        if failed is not None:
            raise ProducerMisledError(
                f"a record that nobody waits for was refused: {failed.topic or failed.topic_id}-{failed.partition}: "
                f"{failed.error_message}"
            )
        return []

    async def _produce(self, decoded: DecodedProduce, version: int) -> list[AnsweredPartition]:
        """Hands everything on before it waits: so requests are appended in the order in which they came."""
        batches: list[Batch] = []
        refused: dict[int, KraftpyError] = {}
        for slot, part in enumerate(decoded.partitions):
            try:
                batches.append((self._topic_of(part), part.partition, _checked(part.records, version)))
            except KraftpyError as error:
                refused[slot] = error
        timeout_ms = min(max(decoded.timeout_ms, 0), WAIT_MAX_MS)
        transaction = None
        if decoded.transactional_id is not None:
            transaction = Transaction(decoded.transactional_id, adds_partitions=version >= TRANSACTIONS_V2_FROM)
        produced = iter(await self._replicas.produce(batches, decoded.acks, timeout_ms, transaction) if batches else ())
        return [
            _answered(
                part,
                Produced(part.topic, part.partition, refused[slot]) if slot in refused else next(produced),
                version,
            )
            for slot, part in enumerate(decoded.partitions)
        ]

    def _topic_of(self, part: ProducedRecords) -> str:
        """Raises `UnknownTopicIdError`."""
        if part.topic:
            return part.topic
        topic = None if part.topic_id is None else self._view.image.topic_by_id(part.topic_id)
        if topic is None:
            raise UnknownTopicIdError(f"there is no topic with id {part.topic_id}")
        return topic.name

    def _endpoints(self, answers: Sequence[AnsweredPartition]) -> list[AdvertisedEndpoint]:
        leaders = dict.fromkeys(answer.leader[0] for answer in answers if answer.leader is not None)
        return [endpoint for leader_id in leaders if (endpoint := self._endpoint_of(leader_id)) is not None]


class ProducerMisledError(ProtocolError):
    """A producer with acks=0 sent what could not be written. The connection is closed, so that it asks who leads."""


def _checked(records: Buffer, version: int) -> Buffer:
    """What a version of the protocol demands of its records; the rest is the log's matter."""
    if len(records) < HEADER_BYTES:
        raise InvalidRecordError("a produce request holds one batch of records a partition")
    if records[MAGIC_POSITION] < MAGIC:  # as Kafka; the log says UNSUPPORTED_FOR_MESSAGE_FORMAT of it
        raise InvalidRecordError(f"Produce {version} carries message format {MAGIC} only")
    if version < ZSTD_FROM and read_header(memoryview(records)).compression is Compression.ZSTD:
        raise UnsupportedCompressionTypeError(f"zstd needs Produce {ZSTD_FROM} or newer, this request is {version}")
    return records


def _answered(part: ProducedRecords, produced: Produced, version: int) -> AnsweredPartition:
    error = produced.error
    if isinstance(error, TransactionAbortableError) and version < ABORTABLE_FROM:
        error = InvalidTxnStateError(error.message)
    leader = produced.leader
    return AnsweredPartition(
        part.topic,
        part.topic_id,
        part.partition,
        NO_ERROR if error is None else code_of(error),
        None if error is None else error.message,
        produced.base_offset,
        produced.log_append_time_ms,
        produced.log_start_offset,
        None if leader is None or leader == _NOBODY else leader,
    )
