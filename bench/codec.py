"""What the Kafka door's codec costs: hot requests read and answers written, and batches made, checked and read.

    python -m bench.codec

In process, no sockets. Rows are medians over several runs of many calls. A Produce request of 16 KB should stay well
below the time that its append takes (`bench.log_append`).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from uuid import UUID

from bench.costs import RUNS, alone_us, report_alone
from broker.kafka import fetch_codec, fetch_request, fetch_response, produce_messages
from broker.kafka.produce_messages import AnsweredPartition
from broker.kafka.wire import nullable_string, uuid, varint
from broker.replication.fetch_types import FetchAnswer, FetchedPartition, FetchQuery, FetchTarget, IsolationLevel
from kraftpy.record import Record, check_batch, decode_batches, encode_batch, read_header

PRODUCE_VERSION = produce_messages.VERSION_MAX
FETCH_VERSION = fetch_codec.VERSION
HEADER_BYTES = 10 + len("broker-2-fetcher") + 1
"""Of a fetch: key, version, correlation id, client id and no tags, which the door reads before."""

TOPIC = UUID(int=7)
WALL_MS = 1_700_000_000_000
NO_TAGS = b"\0"

Work = tuple[str, Callable[[], object], int, int]
"""Name, what is called, how often in a run, and the bytes that it handles (0: not told)."""


def batch_of(records: int, value_bytes: int) -> bytearray:
    return encode_batch([Record(number, WALL_MS, b"key", bytes(value_bytes), ()) for number in range(records)])


def produce_request(batches: Sequence[bytearray]) -> bytearray:
    """The body of a Produce request with a partition for each batch."""
    packed = bytearray(nullable_string(None, flexible=True))
    packed += (-1).to_bytes(2, signed=True) + (30_000).to_bytes(4)
    packed += varint(2) + uuid(TOPIC) + varint(len(batches) + 1)
    for partition, batch in enumerate(batches):
        packed += partition.to_bytes(4) + varint(len(batch) + 1) + batch + NO_TAGS
    return packed + NO_TAGS + NO_TAGS


def works() -> Iterator[Work]:
    small, large = batch_of(16, 1_000), batch_of(1_000, 1_000)
    for name, body in (
        ("Produce read, 1 partition, 16 KB", produce_request([small])),
        ("Produce read, 1 partition, 1 MB", produce_request([large])),
        ("Produce read, 100 partitions, 16 KB each", produce_request([small] * 100)),
    ):
        yield (
            name,
            partial(produce_messages.decode_request, PRODUCE_VERSION, body),
            2_000 if len(body) < 1 << 20 else 200,
            0,
        )
    for count in (1, 100):
        answers = [AnsweredPartition("", TOPIC, number, 0, None, 1_000, -1, 0, None) for number in range(count)]
        encode = partial(produce_messages.encode_response, PRODUCE_VERSION, answers)
        yield f"Produce answered, {count} partitions", encode, 2_000, 0
    for count in (1, 100):
        targets = [FetchTarget(TOPIC, "", number, 3, 1_000, 3, 0, 1 << 20) for number in range(count)]
        query = FetchQuery(2, 9, 500, 1, 10 << 20, IsolationLevel.READ_UNCOMMITTED, targets)
        asked = memoryview(b"".join(fetch_codec.encode_request(query, 1)))[HEADER_BYTES:]
        yield f"Fetch asked, {count} partitions", partial(fetch_codec.encode_request, query, 1), 2_000, 0
        yield f"Fetch read, {count} partitions", partial(fetch_request.decode_request, FETCH_VERSION, asked), 2_000, 0
        fetched = [FetchedPartition(target, None, 100, 100, 0, records=small) for target in targets]
        answer = FetchAnswer(fetched)
        respond = partial(fetch_response.encode_response, FETCH_VERSION, answer, IsolationLevel.READ_UNCOMMITTED)
        yield f"Fetch answered, {count} partitions, 16 KB each", respond, 2_000 if count == 1 else 200, 0
    yield "batch made of 16 records of 1 KB", partial(batch_of, 16, 1_000), 500, len(small)
    yield "batch's header read", partial(read_header, small), 2_000, 0
    yield "batch checked, 16 KB", partial(check_batch, small), 2_000, len(small)
    yield "batch checked, 1 MB", partial(check_batch, large), 500, len(large)
    yield "batch's 16 records read", lambda: list(decode_batches(small)), 500, len(small)


def main() -> None:
    for name, work, times, size_bytes in works():
        work()
        report_alone(name, [alone_us(work, times) for _ in range(RUNS)], size_bytes)


if __name__ == "__main__":
    main()
