"""The design's limit: 10,000 partitions, and one broker's 3,000 leaderships move in two seconds of controller time."""

import time

from broker.controller.commands import BrokerUnreachable, CreateTopics, NewTopic
from broker.metadata.codec import encode_batch
from tests.controller.harness import Harness


def test_a_failover_of_3000_leaderships_takes_less_than_two_seconds_of_the_controllers_time() -> None:
    harness = Harness()
    harness.start(1, 2, 3)
    harness.submit(CreateTopics(tuple(NewTopic(f"t{number}", 10, 3) for number in range(1_000))))
    led = harness.core.index.leader_count(1)
    assert led > 3_000
    start = time.process_time()
    result = harness.core.handle(BrokerUnreachable(1, harness.image.brokers[1].epoch, confirmed=True), harness.now_ms)
    for entry in result.entries(harness.config.records_per_entry_max):
        encode_batch(entry)
        harness.core.replay(entry, harness.image.end_offset)
    assert time.process_time() - start < 2
    assert harness.core.index.leader_count(1) == 0
    heirs = [harness.core.index.leader_count(broker_id) for broker_id in (2, 3)]
    assert max(heirs) - min(heirs) <= 1_000, "each topic's share differs by one at most"
    first = result.entries(harness.config.records_per_entry_max)[0]
    moved = sum(getattr(record, "leader", None) is not None for record in first)
    assert moved == led, "leaderships come first, because somebody waits for each of them"
