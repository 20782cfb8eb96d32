"""The order of one partition's batches, as transcripts: what may be sent next, and under which number."""

from contextlib import nullcontext

from kraftpy.client.batch import Batch, BatchState, ProducerIdentity
from kraftpy.client.cluster_view import Leader
from kraftpy.client.partition_queue import EPOCH_MAX, SEQUENCE_LIMIT, PartitionQueue
from kraftpy.errors import (
    DuplicateSequenceError,
    InvalidRecordError,
    NetworkError,
    NotEnoughReplicasError,
    OutOfOrderSequenceError,
)
from kraftpy.record import BatchBuilder

LEADER = Leader(1, 1)


class Transcript:
    """A queue whose batches are called a, b, c … in order of arrival, each of ten records."""

    def __init__(self, *, idempotent: bool = True, count: int = 8, epoch: int = 0) -> None:
        self.queue = PartitionQueue("t", 0, idempotent=idempotent, max_in_flight=5, retries=100)
        self.batches = {}
        for index in range(count):
            batch = Batch("t", 0, BatchBuilder(), created_ms=index, lock=nullcontext())
            batch.record_count = 10
            batch.state = BatchState.CLOSED
            self.batches["abcdefgh"[index]] = batch
            self.queue.pending.append(batch)
        if idempotent:
            self.queue.adopt(ProducerIdentity(7, epoch))
            self.send()
            self.succeed("a")

    def send(self) -> str:
        """Send all that may be sent; who, and under which epoch and sequence."""
        sent = []
        while (batch := self.queue.next_batch()) is not None and (self.queue.identity or not self.queue.idempotent):
            self.queue.take(batch, LEADER)
            sent.append(f"{self.name(batch)}{batch.identity.epoch}/{batch.base_sequence}")
        return " ".join(sent)

    def succeed(self, *names: str) -> str:
        for name in names:
            self.queue.succeeded(self.batches[name], 0, -1)
        return self.settle()

    def fail(self, error: type[Exception], *names: str) -> str:
        for name in names:
            self.queue.failed(self.batches[name], error())  # type: ignore[arg-type]
        return self.settle()

    def settle(self) -> str:
        return " ".join(self.name(batch) + ("!" if batch.error else "") for batch in self.queue.settle())

    def name(self, batch: Batch) -> str:
        return next(name for name, known in self.batches.items() if known is batch)


def test_up_to_five_are_on_their_way_and_sequences_follow_each_other() -> None:
    story = Transcript()
    assert story.send() == "b0/10 c0/20 d0/30 e0/40 f0/50"
    assert story.succeed("c") == ""  # an outcome waits for those before it
    assert story.send() == ""
    assert story.succeed("b") == "b c"
    assert story.send() == "g0/60 h0/70"


def test_the_first_batch_of_an_identity_travels_alone() -> None:
    story = Transcript(idempotent=False)
    story.queue.idempotent = True
    story.queue.adopt(ProducerIdentity(7, 0))
    assert story.send() == "a0/0"
    assert story.succeed("a") == "a"
    assert story.send() == "b0/10 c0/20 d0/30 e0/40 f0/50"


def test_a_retry_waits_for_those_after_it_and_goes_first() -> None:
    story = Transcript()
    story.send()
    story.fail(NotEnoughReplicasError, "b")
    assert story.send() == ""
    story.fail(OutOfOrderSequenceError, "c", "d", "e")
    assert story.send() == ""
    story.fail(OutOfOrderSequenceError, "f")
    assert story.send() == "b0/10 c0/20 d0/30 e0/40 f0/50"
    assert story.succeed("b", "c", "d", "e", "f") == "b c d e f"


def test_a_refused_batch_leaves_a_gap_and_the_rest_is_numbered_anew() -> None:
    story = Transcript()
    story.send()
    assert story.fail(InvalidRecordError, "b") == "b!"
    story.fail(OutOfOrderSequenceError, "c", "d", "e", "f")
    assert story.send() == "c1/0"
    assert story.succeed("c") == "c"
    assert story.send() == "d1/10 e1/20 f1/30 g1/40 h1/50"


def test_what_may_have_been_written_keeps_its_number_for_as_long_as_it_lives() -> None:
    story = Transcript()
    story.send()
    assert story.fail(InvalidRecordError, "b") == "b!"
    story.fail(NetworkError, "c", "d", "e", "f")
    for _ in range(3):
        assert story.send() == "c0/20 d0/30 e0/40 f0/50"
        story.fail(OutOfOrderSequenceError, "c", "d", "e", "f")
    story.queue.expire(5, 1_000)
    assert story.settle() == "c! d! e! f!"
    assert story.send() == "g1/0"


def test_a_batch_that_was_given_up_but_written_lets_the_next_through() -> None:
    story = Transcript()
    story.send()
    story.fail(NetworkError, "b", "c", "d", "e", "f")
    story.queue.expire(1, 1_000)  # b, which a log holds
    assert story.settle() == "b!"
    assert story.send() == "c0/20 d0/30 e0/40 f0/50"
    assert story.succeed("c", "d", "e", "f") == "c d e f"
    assert story.send() == "g1/0"  # nobody knows about b, so the numbers begin anew before anything new


def test_a_duplicate_that_is_no_longer_remembered_counts_as_written() -> None:
    story = Transcript()
    story.send()
    assert story.fail(DuplicateSequenceError, "b") == "b"
    assert story.batches["b"].base_offset == -1


def test_sequences_wrap() -> None:
    story = Transcript()
    story.queue.next_sequence = SEQUENCE_LIMIT - 5
    assert story.send().startswith(f"b0/{SEQUENCE_LIMIT - 5} c0/5 d0/15")


def test_epochs_end_in_another_producer_id() -> None:
    story = Transcript(epoch=EPOCH_MAX)
    story.send()
    story.fail(InvalidRecordError, "b")
    story.fail(OutOfOrderSequenceError, "c", "d", "e", "f")
    assert story.send() == ""
    assert (story.queue.identity, story.queue.lost_producer_id) == (None, 7)
    story.queue.adopt(ProducerIdentity(8, 0))
    assert story.send() == "c0/0"


def test_without_idempotence_order_holds_as_far_as_it_can() -> None:
    story = Transcript(idempotent=False)
    assert story.send() == "a-1/-1 b-1/-1 c-1/-1 d-1/-1 e-1/-1"
    story.fail(NotEnoughReplicasError, "a")
    assert story.succeed("b", "c", "d", "e") == ""
    assert story.send() == "a-1/-1"
    assert story.succeed("a") == "a b c d e"
    assert story.fail(OutOfOrderSequenceError, "f") == ""  # not sent: nothing happens
