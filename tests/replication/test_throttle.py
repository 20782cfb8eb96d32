"""The token bucket and the lists of throttled replicas (KIP-73)."""

from hypothesis import given
from hypothesis import strategies as st

from broker.metadata.image import MetadataImage
from broker.metadata.records import DEFAULT_BROKER, ConfigRecord, broker_resource, topic_resource
from broker.replication.throttle import UNLIMITED, Throttles, TokenBucket, throttled_replicas


def test_a_bucket_lets_a_second_pass_at_once_and_then_its_rate() -> None:
    bucket = TokenBucket(1_000, 0)
    assert bucket.wait_ms(0) == 0
    bucket.take(3_000, 0)
    assert bucket.wait_ms(0) == 2_001
    assert bucket.wait_ms(2_000) == 1
    assert bucket.wait_ms(2_001) == 0


def test_what_was_not_used_is_kept_for_a_second() -> None:
    bucket = TokenBucket(1_000, 0)
    bucket.take(1_500, 60_000)
    assert bucket.wait_ms(60_000) == 501


def test_without_a_limit_nobody_waits_and_nothing_is_owed_afterwards_for_long() -> None:
    bucket = TokenBucket(UNLIMITED, 0)
    bucket.take(10**12, 0)
    assert bucket.wait_ms(0) == 0
    bucket.set_rate(1_000, 0)
    assert bucket.wait_ms(0) == 0


@given(st.integers(1, 10**9), st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 10**6)), max_size=60))
def test_nobody_gets_more_than_the_rate_a_burst_and_a_batch(rate: int, steps: list[tuple[int, int]]) -> None:
    bucket = TokenBucket(rate, 0)
    now_ms = passed = largest = 0
    for pause_ms, size_bytes in steps:
        now_ms += pause_ms
        now_ms += bucket.wait_ms(now_ms)
        assert bucket.wait_ms(now_ms) == 0, "the wait is long enough"
        bucket.take(size_bytes, now_ms)
        passed += size_bytes
        largest = max(largest, size_bytes)
        assert passed <= rate * now_ms / 1_000 + rate + largest + 1


def test_lists_name_pairs_or_everybody() -> None:
    assert throttled_replicas(("0:1", " 1:2".strip())).holds(1, 2)
    assert not throttled_replicas(("0:1",)).holds(1, 1)
    assert throttled_replicas(("0:1", "*")).holds(7, 7)
    assert not throttled_replicas(()).holds(0, 0)
    assert not throttled_replicas(("nonsense", "1:2:3", "a:b")).holds(1, 2)


def test_settings_reach_both_ends_and_a_brokers_own_wins() -> None:
    throttles = Throttles(1, 0)
    records = [
        ConfigRecord(DEFAULT_BROKER, "leader.replication.throttled.rate", "5000"),
        ConfigRecord(broker_resource(1), "leader.replication.throttled.rate", "10"),
        ConfigRecord(broker_resource(2), "follower.replication.throttled.rate", "7"),
        ConfigRecord(topic_resource("t"), "leader.replication.throttled.replicas", "0:3"),
        ConfigRecord(topic_resource("t"), "follower.replication.throttled.replicas", "*"),
    ]
    image, delta = MetadataImage.EMPTY.apply(records, len(records), 1)
    throttles.configure(image, delta.configs, 0)
    assert throttles.leader.concerns("t", 0, 3) and not throttles.leader.concerns("t", 0, 2)
    assert not throttles.leader.concerns("u", 0, 3)
    throttles.leader.take(20, 0)
    assert throttles.leader.wait_ms(0) == 1_001
    assert not throttles.follower.concerns("t", 0, 1), "it has no rate here"
    gone = [ConfigRecord(broker_resource(1), "leader.replication.throttled.rate", None)]
    image, delta = image.apply(gone, image.end_offset + 1, 1)
    throttles.configure(image, delta.configs, 0)
    assert throttles.leader.wait_ms(0) == 3, "the default of all brokers holds; what is owed is still to be paid"
