"""Whatever is asked in whatever order: the image keeps its invariants, and the log alone rebuilds it."""

from collections import Counter
from random import Random
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.controller.commands import (
    AlterConfigs,
    AlterPartition,
    BrokerUnreachable,
    ConfigAlteration,
    ConfigChange,
    CreatePartitions,
    DeleteTopics,
    ElectLeaders,
    IsrMember,
    IsrProposal,
    NewPartitions,
    NewTopic,
    Operation,
    ReplicaReport,
    ReportReplicas,
)
from broker.controller.config import ControllerConfig
from broker.controller.partition_index import PartitionIndex
from broker.controller.result import UncleanElection
from broker.metadata.codec import decode_batch, encode_batch
from broker.metadata.image import MetadataImage, delta_between
from broker.metadata.records import topic_resource
from broker.metadata.state import PartitionState, Standing
from kraftpy.errors import KraftpyError
from tests.controller.harness import Harness, check_image

BROKERS = (1, 2, 3, 4)
TOPICS = ("a", "b", "c.d", "c_d")


class Chaos:
    """A random walk. `lives` and `disks` count, so that every restart and every new disk is another one."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.harness = Harness(ControllerConfig(leader_imbalance_check_interval_seconds=5), seed)
        self.lives = Counter[int]()
        self.disks = Counter[int]()
        self.seen: dict[tuple[UUID, int], PartitionState] = {}
        self.unclean = False

    def step(self) -> None:
        actions = (
            self.restart,
            self.replace_disk,
            self.beat,
            self.beat,
            self.wait,
            self.create,
            self.create,
            self.grow,
            self.delete,
            self.change_isr,
            self.change_isr,
            self.change_isr,
            self.shut_down,
            self.lose_sight,
            self.elect,
            self.allow_unclean,
            self.fail_over,
            self.unregister,
            self.report,
        )
        try:
            self.random.choice(actions)()
        except KraftpyError:
            pass  # refused: nothing has happened
        self.check()

    # --- actions ---

    def broker(self) -> int:
        return self.random.choice(BROKERS)

    def topic(self) -> str:
        return self.random.choice(TOPICS)

    def restart(self) -> None:
        broker_id = self.broker()
        self.lives[broker_id] += 1
        self.harness.register(broker_id, self.lives[broker_id], self.disks[broker_id])
        if self.random.random() < 0.8:
            self.harness.beat(broker_id)

    def replace_disk(self) -> None:
        self.disks[self.broker()] += 1

    def beat(self) -> None:
        for broker_id in BROKERS:
            if broker_id in self.harness.image.brokers and self.random.random() < 0.8:
                self.harness.beat(broker_id)

    def wait(self) -> None:
        self.harness.now_ms += self.random.choice((100, 700, 2_000, 5_000))
        self.harness.tick()

    def create(self) -> None:
        self.harness.try_create(NewTopic(self.topic(), self.random.randint(1, 4), self.random.randint(1, 3)))

    def grow(self) -> None:
        self.harness.submit(CreatePartitions((NewPartitions(self.topic(), self.random.randint(1, 6)),)))

    def delete(self) -> None:
        if self.random.random() < 0.3:
            self.harness.submit(DeleteTopics((self.topic(),)))

    def change_isr(self) -> None:
        """A leader proposes a random set, sometimes with old epochs."""
        topic = self.harness.image.topic(self.topic())
        if topic is None:
            return
        number = self.random.randrange(len(topic.partitions))
        state = topic.partitions[number]
        if not state.has_leader:
            return
        others = [broker_id for broker_id in state.replicas if self.random.random() < 0.7 and broker_id != state.leader]
        brokers = self.harness.image.brokers
        members = tuple(
            IsrMember(broker_id, brokers[broker_id].epoch - (self.random.random() < 0.05))
            for broker_id in (state.leader, *others)
            if broker_id in brokers
        )
        old = self.random.random() < 0.1
        proposal = IsrProposal(topic.topic_id, number, state.leader_epoch - old, state.partition_epoch, members)
        self.harness.submit(AlterPartition(state.leader, brokers[state.leader].epoch, (proposal,)))

    def shut_down(self) -> None:
        broker_id = self.broker()
        if broker_id in self.harness.image.brokers:
            self.harness.beat(broker_id, want_shut_down=True)

    def lose_sight(self) -> None:
        broker_id = self.broker()
        broker = self.harness.image.brokers.get(broker_id)
        if broker:
            self.harness.submit(BrokerUnreachable(broker_id, broker.epoch, confirmed=self.random.random() < 0.5))

    def elect(self) -> None:
        unclean = self.random.random() < 0.1
        self.unclean |= unclean
        self.harness.submit(ElectLeaders(None, unclean))

    def allow_unclean(self) -> None:
        if self.random.random() < 0.2:
            self.unclean = True
            change = ConfigChange("unclean.leader.election.enable", Operation.SET, "true")
            self.harness.submit(AlterConfigs((ConfigAlteration(topic_resource(self.topic()), (change,)),)))

    def fail_over(self) -> None:
        self.harness.fail_over()

    def unregister(self) -> None:
        if self.random.random() < 0.2:
            self.harness.unregister(self.broker())

    def report(self) -> None:
        """A broker cannot serve some replicas, or can again; it speaks of partitions that are not its own, too."""
        broker_id = self.broker()
        topic = self.harness.image.topic(self.topic())
        broker = self.harness.image.brokers.get(broker_id)
        if topic is not None and broker is not None:
            numbers = [number for number in range(len(topic.partitions) + 1) if self.random.random() < 0.4]
            standings = [self.random.choice(list(Standing)) for _ in numbers]
            replicas = tuple(map(ReplicaReport, [topic.topic_id] * len(numbers), numbers, standings))
            self.harness.submit(ReportReplicas(broker_id, broker.epoch, replicas))

    # --- what must hold ---

    def check(self) -> None:
        image = self.harness.image
        check_image(image)
        for topic in image.topics.values():
            for number, state in enumerate(topic.partitions):
                key = (topic.topic_id, number)
                if key in self.seen:
                    check_step(self.seen[key], state)
                self.seen[key] = state
                live = [
                    broker_id
                    for broker_id in state.isr
                    if image.is_active(broker_id) and image.brokers[broker_id].serves(*key)
                ]
                assert not state.has_leader or state.leader in live, "a leader is live, and so is its replica"
                assert state.has_leader or not live, "a partition with a live member in sync has a leader"
        if not self.unclean:
            assert not any(isinstance(fact, UncleanElection) for fact in self.harness.facts)

    def check_log(self) -> None:
        """The records, as bytes, replayed by another node, and a snapshot of the result, give the same image."""
        records = decode_batch(encode_batch(self.harness.records))
        replayed = MetadataImage.EMPTY
        position = 0
        while position < len(records):
            count = self.random.randint(1, 5)
            batch = records[position : position + count]
            position += len(batch)
            replayed = replayed.apply(batch, position, self.harness.epoch)[0]
        expected = self.harness.image
        assert delta_between(replayed, expected).is_empty
        assert (replayed.end_offset, replayed.next_producer_id) == (expected.end_offset, expected.next_producer_id)
        snapshot = decode_batch(encode_batch(replayed.records()))
        assert MetadataImage.load(snapshot, replayed.end_offset, replayed.epoch) == replayed
        check_index(self.harness.core.index, PartitionIndex.of(expected), expected)


def check_step(before: PartitionState, after: PartitionState) -> None:
    assert after.partition_epoch >= before.partition_epoch
    assert after.leader_epoch >= before.leader_epoch
    if after != before:
        assert after.partition_epoch > before.partition_epoch
    if after.leader != before.leader:
        assert after.leader_epoch > before.leader_epoch, "two leaders never share an epoch"


def check_index(kept: PartitionIndex, made: PartitionIndex, image: MetadataImage) -> None:
    assert sorted(kept.without_leader()) == sorted(made.without_leader())
    for broker_id in BROKERS:
        assert sorted(kept.led_by(broker_id)) == sorted(made.led_by(broker_id))
        assert sorted(kept.in_sync_on(broker_id)) == sorted(made.in_sync_on(broker_id))
        assert sorted(kept.displaced_from(broker_id)) == sorted(made.displaced_from(broker_id))
        assert kept.preferred_count(broker_id) == made.preferred_count(broker_id)
        assert kept.replica_count(broker_id) == made.replica_count(broker_id)
    for name in image.topic_ids:
        assert kept.name_in_use_like(name) == made.name_in_use_like(name)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, 120))
def test_random_commands_keep_the_invariants(seed: int, steps: int) -> None:
    chaos = Chaos(seed)
    for broker_id in BROKERS[:3]:
        chaos.harness.start(broker_id, life=0, disk=0)
    for _ in range(steps):
        chaos.step()
    chaos.check_log()


def test_one_seed_gives_one_log() -> None:
    logs = []
    for _ in range(2):
        chaos = Chaos(11)
        for _ in range(150):
            chaos.step()
        logs.append(chaos.harness.records)
    assert logs[0] == logs[1]
