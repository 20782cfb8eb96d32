"""What the controller's work costs, by the number of brokers and partitions.

    python -m bench.controller_failover [--brokers 3] [--partitions 10000] [--topics 10000,100,1]

Medians of several runs, in milliseconds of this process's time. The failover is everything between "this broker is
dead" and bytes that can be proposed, plus what every node does with them: decide, replay (image, delta, index), encode,
and on the other nodes decode and apply. The limit of the design is two seconds for one broker's 3,000 leaderships.
"""

import argparse
import gc
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from uuid import UUID

from broker.controller.commands import BrokerUnreachable, CreateTopics, Heartbeat, NewTopic, RegisterBroker
from broker.controller.config import ControllerConfig
from broker.controller.core import ControllerCore
from broker.controller.partition_index import PartitionIndex
from broker.controller.placement import Candidate, place
from broker.metadata.codec import decode_batch, encode_batch
from broker.metadata.features import SUPPORTED_FEATURES
from broker.metadata.image import MetadataImage
from broker.metadata.records import Endpoint, MetadataRecord, PartitionChangeRecord, RegisterBrokerRecord
from broker.quorum.loader import MetadataLoader
from raft.events import Epoch, Offset, SnapshotId

RUNS = 5
PARTITIONS_A_REQUEST = 10_000


def batched(topics: Sequence[NewTopic], size: int) -> Iterator[tuple[NewTopic, ...]]:
    return (tuple(topics[start : start + size]) for start in range(0, len(topics), size))


def median_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        times.append((time.process_time() - start) * 1_000)
    return statistics.median(times)


def report(what: str, milliseconds: float) -> None:
    print(f"{what:<78} {milliseconds:>9.2f} ms")


def cluster(brokers: int, partitions: int, topics: int) -> MetadataImage:
    """So many brokers, and partitions of three replicas in so many topics."""
    core = ControllerCore(ControllerConfig(), Random(1), MetadataImage.EMPTY, 1, 0)
    core.replay(core.activate(0).records, 0)
    for broker_id in range(1, brokers + 1):
        endpoints = (Endpoint("GRPC", "localhost", 9093),)
        record = RegisterBrokerRecord(
            broker_id, UUID(int=broker_id), UUID(int=broker_id), endpoints, features=SUPPORTED_FEATURES
        )
        result = core.handle(RegisterBroker(record), 0)
        core.replay(result.records, core.image.end_offset)
        beat = core.handle(Heartbeat(broker_id, result.response.broker_epoch, core.image.end_offset), 0)
        core.replay(beat.records, core.image.end_offset)
    each = partitions // topics
    named = [NewTopic(f"t{number}", each, 3) for number in range(topics)]
    for some in batched(named, max(PARTITIONS_A_REQUEST // each, 1)):
        core.replay(core.handle(CreateTopics(some), 0).records, core.image.end_offset)
    return core.image


def measure_failover(image: MetadataImage, topics: int) -> None:
    epoch = image.brokers[1].epoch
    cores = [ControllerCore(ControllerConfig(), Random(1), image, 2, 0) for _ in range(RUNS)]
    report(f"{topics} topics: take over (index of the image)", median_ms(lambda: PartitionIndex.of(image)))
    steps: dict[str, list[float]] = {"decide": [], "replay": [], "encode": [], "decode": [], "apply": []}
    leaderships = cores[0].index.leader_count(1)
    for core in cores:
        core.activate(0)
        marks = [time.process_time()]
        result = core.handle(BrokerUnreachable(1, epoch, confirmed=True), 0)
        marks.append(time.process_time())
        core.replay(result.records, image.end_offset)
        marks.append(time.process_time())
        values = encode_batch(result.records)
        marks.append(time.process_time())
        records = decode_batch(values)
        marks.append(time.process_time())
        image.apply(records, image.end_offset + len(records), 2)
        marks.append(time.process_time())
        for name, start, end in zip(steps, marks, marks[1:], strict=False):
            steps[name].append((end - start) * 1_000)
    for name, times in steps.items():
        report(f"{topics} topics: fence a broker with {leaderships} leaderships: {name}", statistics.median(times))
    report(f"{topics} topics: … together", sum(statistics.median(times) for times in steps.values()))
    print(f"{'':>10}{len(result.records)} records, {sum(map(len, values))} bytes")


def measure_heartbeat(image: MetadataImage, topics: int) -> None:
    """Of a broker that has nothing new to say."""
    core = ControllerCore(ControllerConfig(), Random(1), image, 2, 0)
    core.replay(core.activate(0).records, image.end_offset)
    beat = Heartbeat(1, image.brokers[1].epoch, image.end_offset)
    many_ms = median_ms(lambda: [core.handle(beat, 0) for _ in range(1_000)])
    report(f"{topics} topics: a thousand heartbeats", many_ms)


def measure_image(image: MetadataImage, topics: int) -> None:
    topic_id = next(iter(image.topics))
    change: list[MetadataRecord] = [PartitionChangeRecord(topic_id, 0, isr=(1, 2))]
    end_offset = image.end_offset + 1
    report(f"{topics} topics: apply one partition's change", median_ms(lambda: image.apply(change, end_offset, 1)))
    values = encode_batch(image.records())
    report(f"{topics} topics: snapshot: records as bytes", median_ms(lambda: encode_batch(image.records())))
    report(
        f"{topics} topics: snapshot: load",
        median_ms(lambda: MetadataImage.load(decode_batch(values), image.end_offset, 1)),
    )


def measure_snapshot(image: MetadataImage, topics: int) -> None:
    """The quorum's snapshots, as the event loop sees them: the longest it is held, not the sum. The limit is 50 ms."""
    machine = MetadataLoader(lambda image, delta: None)
    machine.image = image
    chunks = list(machine.snapshot())
    size_kb = sum(map(len, chunks)) // 1_000
    report(f"{topics} topics: quorum snapshot of {size_kb:,} KB: the longest chunk", longest_ms(machine.snapshot))

    def load() -> Iterator[object]:
        loading = MetadataLoader(lambda image, delta: None).load_snapshot(
            SnapshotId(Epoch(1), Offset(image.end_offset)), iter(chunks)
        )
        return iter(loading.__await__())

    report(f"{topics} topics: quorum snapshot loaded in steps: the longest", longest_ms(load))


def longest_ms(steps: Callable[[], Iterator[object]]) -> float:
    """The longest step of an iteration; of several runs, the median."""
    times = []
    for _ in range(RUNS):
        longest, marks = 0.0, time.process_time()
        for _ in steps():
            now = time.process_time()
            longest, marks = max(longest, now - marks), now
        times.append(max(longest, time.process_time() - marks) * 1_000)
    return statistics.median(times)


def anonymous_kb() -> int:
    """RssAnon of this process (Linux)."""
    gc.collect()
    return int(re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brokers", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument(
        "--topics", default="10000,100,1", help="the partitions are spread over so many; a run for each"
    )
    given = parser.parse_args()
    for topics in map(int, given.topics.split(",")):
        before_kb = anonymous_kb()
        image = cluster(given.brokers, given.partitions, topics)
        print(f"{topics} topics: the controller's memory grew by {(anonymous_kb() - before_kb) / 1000:,.0f} MB")
        measure_heartbeat(image, topics)
        measure_failover(image, topics)
        measure_image(image, topics)
        measure_snapshot(image, topics)
    for brokers in sorted({3, 5, 12, 100, given.brokers}):
        candidates = [Candidate(number, rack=f"r{number % 3}") for number in range(brokers)]
        report(
            f"place {given.partitions} partitions of three replicas on {brokers} brokers",
            median_ms(lambda candidates=candidates: place(candidates, given.partitions, 3, Random(1))),  # type: ignore[misc]
        )


if __name__ == "__main__":
    main()
