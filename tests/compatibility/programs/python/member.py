"""A member of a group that anybody may kill, by confluent-kafka: reads, handles, commits, and keeps a diary.

    python -m tests.compatibility.programs.python.member TOPIC DIARY COMMIT BATCH SETTINGS

SETTINGS are librdkafka's, as JSON. COMMIT is `sync`: what was handled is committed after every batch, and waited for;
or `auto`: it is stored for librdkafka's auto-commit. To handle a record is to write it into the diary, whole batches at
a time, so that a kill -9 leaves a batch handled or not:

    batch      TIME  PARTITION:OFFSET:VALUE …   what was handled, before it is committed
    committed  TIME  PARTITION:OFFSET …         confirmed by the broker: everything below each offset
    refused    TIME  CODE  PARTITION …          that commit came in the midst of a change: a later one counts
    revoked    TIME  PARTITION …                given away without this member: its session had ended
    lost       TIME  CODE  TEXT                 an error that reached the application
    note       TIME  CODE  TEXT                 what librdkafka tells while it recovers by itself

TIME is the machine's monotonic clock in ms; fields are apart by tabs. SIGTERM leaves the group and ends with code 0.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

POLL_S = 0.2
REFUSALS = (
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.STALE_MEMBER_EPOCH,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
"""Of commits in the midst of a rebalance, or of a coordinator's move: parts of the protocol, which librdkafka hands on,
with Apache Kafka too. The member goes on, and its next commit holds these offsets as well, for what it still has."""

AUTOMATIC_REFUSALS = (*REFUSALS, KafkaError.UNKNOWN_MEMBER_ID)
"""Of librdkafka's own commits, which it may send when its member has just left a group of KIP-848 (seen with Apache
Kafka): the application is told only because it asks."""


class Diary:
    """One `write` a line: a line is there or not."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, kind: str, *fields: str) -> None:
        os.write(self._file, "\t".join([kind, f"{time.monotonic() * 1000:.1f}", *fields]).encode() + b"\n")

    def error(self, error: KafkaError) -> None:
        """What may pass is librdkafka's own business: its documentation calls such errors informational."""
        kind = "lost" if error.fatal() or not _passes(error) else "note"
        self.write(kind, error.name(), " ".join(error.str().split()))


def _passes(error: KafkaError) -> bool:
    return bool(error.retriable()) or error.code() in (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN)


def handle(diary: Diary, batch: Sequence[Message]) -> list[Message]:
    """Write down the records of a batch; errors among them are what the application would see."""
    for message in batch:
        if (error := message.error()) is not None:
            diary.error(error)
    records = [message for message in batch if message.error() is None]
    if records:
        diary.write("batch", " ".join(_record(message) for message in records))
    return records


def still_ours(consumer: Consumer, batch: Sequence[Message]) -> list[Message]:
    """Without records of partitions that were given away while the batch was gathered: another member handles them."""
    ours = {position.partition for position in consumer.assignment()}
    return [message for message in batch if message.error() is not None or message.partition() in ours]


def _record(message: Message) -> str:
    return f"{message.partition()}:{message.offset()}:{(message.value() or b'').decode()}"


class Commits:
    """Writes down what became of each commit: librdkafka's own (`on_commit`, within its polls) and those waited for."""

    def __init__(self, diary: Diary, how: str) -> None:
        self._diary = diary
        self._how = how
        self._refusals = REFUSALS if how == "sync" else AUTOMATIC_REFUSALS

    def on_commit(self, error: KafkaError | None, positions: Sequence[TopicPartition]) -> None:
        """Of one commit, as a whole or partition by partition."""
        if error is not None and error.code() == KafkaError._NO_OFFSET:
            return  # there was nothing to commit
        refused: dict[KafkaError, list[int]] = {}
        committed: list[str] = []
        for position in positions:
            if (found := error or position.error) is not None:
                refused.setdefault(found, []).append(position.partition)
            elif position.offset >= 0:
                committed.append(f"{position.partition}:{position.offset}")
        if committed:
            self._diary.write("committed", " ".join(committed))
        for found, partitions in refused.items():
            self._refused(found, partitions)

    def batch(self, consumer: Consumer, records: Sequence[Message]) -> None:
        """Commit what was handled, and wait; or leave it to librdkafka."""
        last = {message.partition(): message for message in records}
        try:
            if self._how == "sync":
                self.on_commit(None, consumer.commit(asynchronous=False) or [])
            else:
                for message in last.values():
                    consumer.store_offsets(message)
        except KafkaException as error:
            self._refused(error.args[0], list(last))

    def on_lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """The group went on without this member."""
        if partitions:
            self._diary.write("revoked", " ".join(str(each.partition) for each in partitions))

    def _refused(self, error: KafkaError, partitions: Sequence[int]) -> None:
        if error.code() in self._refusals:
            self._diary.write("refused", error.name(), " ".join(map(str, partitions)))
        else:
            self._diary.write("lost", error.name(), f"commit: {error.str()}")


def main() -> int:
    topic, path, how, batch_text, settings = sys.argv[1:]
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    diary, batch_max = Diary(path), int(batch_text)
    commits = Commits(diary, how)
    automatic = {"enable.auto.commit": how == "auto", "enable.auto.offset.store": how != "auto"}
    told = {"error_cb": diary.error, "on_commit": commits.on_commit}
    consumer = Consumer({**automatic, **json.loads(settings), **told})
    consumer.subscribe([topic], on_lost=commits.on_lost)
    try:
        while not stopping:
            first = consumer.poll(POLL_S)
            if first is not None:
                batch = [first, *consumer.consume(batch_max - 1, 0)] if batch_max > 1 else [first]
                if records := handle(diary, still_ours(consumer, batch)):
                    commits.batch(consumer, records)
    finally:
        consumer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
