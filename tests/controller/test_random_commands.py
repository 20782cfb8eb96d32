"""Whatever is asked in whatever order: the image keeps its invariants, and the log alone rebuilds it."""

from collections import Counter
from collections.abc import Mapping
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.controller.commands import (
    AlterConfigs,
    AlterPartition,
    AlterPartitionReassignments,
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
    Reassignment,
    ReplicaReport,
    ReportReplicas,
)
from broker.controller.config import ControllerConfig
from broker.controller.partition_index import PartitionIndex
from broker.controller.result import UncleanElection
from broker.metadata.codec import decode_batch, encode_batch
from broker.metadata.image import MetadataImage, delta_between
from broker.metadata.records import DEFAULT_BROKER, ResourceType, broker_resource, topic_resource
from broker.metadata.state import PartitionState, Standing
from kraftpy.errors import KraftpyError, NewLeaderElectedError
from tests.bugs.catalogue import BUGS
from tests.bugs.search import look_for
from tests.controller.harness import Harness, check_image

BROKERS = (1, 2, 3, 4)
TOPICS = ("a", "b", "c.d", "c_d")
Nodes = tuple[int, ...]


class Chaos:
    """A random walk. `lives` and `disks` count, so that every restart and every new disk is another one."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.harness = Harness(ControllerConfig(leader_imbalance_check_interval_seconds=5), seed)
        self.lives = Counter[int]()
        self.disks = Counter[int]()
        self.seen: dict[tuple[UUID, int], PartitionState] = {}
        self.unclean = False
        self.facts_seen = 0
        self.registered_disks = Counter[int]()
        self.whole: dict[tuple[UUID, int], set[int]] = {}  # who has everything that was committed
        self.doubted: dict[tuple[UUID, int], set[int]] = {}  # who was away when flush.messages became 1 there
        self.relaxed_once: set[UUID] = set()

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
            self.commit,
            self.commit,
            self.move,
            self.move,
            self.cancel_move,
            self.alter_min_isr,
            self.alter_flushing,
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
        clean = self.random.random() < 0.4
        known = broker_id in self.harness.image.brokers
        self.harness.register(broker_id, self.lives[broker_id], self.disks[broker_id], clean=clean)
        lost = not known or self.registered_disks[broker_id] != self.disks[broker_id]
        self.registered_disks[broker_id] = self.disks[broker_id]
        for key, whole in self.whole.items():
            unflushed = self.is_relaxed(key[0], broker_id) or broker_id in self.doubted.get(key, ())
            if lost or (unflushed and not clean):
                whole.discard(broker_id)
            self.doubted.get(key, set()).discard(broker_id)
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
        config = {"min.insync.replicas": str(self.random.randint(1, 3))}
        if self.random.random() < 0.5:
            config["flush.messages"] = "1000"
        self.harness.try_create(NewTopic(self.topic(), self.random.randint(1, 4), self.random.randint(1, 3), config))

    def config_of(self, topic: str) -> Mapping[str, str]:
        return self.harness.image.config(topic_resource(topic))

    def is_relaxed(self, topic_id: UUID, broker_id: int) -> bool:
        """Whether appends count on that broker before they are flushed."""
        configs, topic = self.harness.image.configs, self.harness.image.topics.get(topic_id)
        if topic is None:
            return False
        default = next(
            (
                configs[resource]["log.flush.interval.messages"]
                for resource in (broker_resource(broker_id), DEFAULT_BROKER)
                if "log.flush.interval.messages" in configs.get(resource, {})
            ),
            "1",
        )
        return self.config_of(topic.name).get("flush.messages", default) != "1"

    def commit(self) -> None:
        """Leaders with large enough sets commit something: whoever is not in sync misses it."""
        for topic in self.harness.image.topics.values():
            min_isr = int(self.config_of(topic.name)["min.insync.replicas"])
            for number, state in enumerate(topic.partitions):
                if state.has_leader and len(state.isr) >= min(min_isr, state.replication_factor):
                    self.whole[topic.topic_id, number] &= set(state.isr)

    def move(self) -> None:
        topic = self.harness.image.topic(self.topic())
        if topic is not None:
            target = tuple(self.random.sample(BROKERS, self.random.randint(1, 4)))
            item = Reassignment(topic.name, self.random.randrange(len(topic.partitions)), target)
            self.harness.submit(AlterPartitionReassignments((item,)))

    def cancel_move(self) -> None:
        topic = self.harness.image.topic(self.topic())
        if topic is not None:
            items = tuple(Reassignment(topic.name, number, None) for number in range(len(topic.partitions)))
            self.harness.submit(AlterPartitionReassignments(items))

    def alter_min_isr(self) -> None:
        change = ConfigChange("min.insync.replicas", Operation.SET, str(self.random.randint(1, 3)))
        self.harness.submit(AlterConfigs((ConfigAlteration(topic_resource(self.topic()), (change,)),)))

    def alter_flushing(self) -> None:
        """Who is there flushes what counted before; who is away may have lost it already."""
        resource = self.random.choice((topic_resource(self.topic()), DEFAULT_BROKER, broker_resource(self.broker())))
        name = "flush.messages" if resource.type == ResourceType.TOPIC else "log.flush.interval.messages"
        value = self.random.choice(("1", "1000", None))
        change = ConfigChange(name, Operation.DELETE if value is None else Operation.SET, value)
        before = {(key, each) for key in self.whole for each in BROKERS if self.is_relaxed(key[0], each)}
        self.harness.submit(AlterConfigs((ConfigAlteration(resource, (change,)),)))
        for key, broker_id in before:
            if not self.is_relaxed(key[0], broker_id) and not self.harness.image.is_active(broker_id):
                self.doubted.setdefault(key, set()).add(broker_id)

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
        command = AlterPartition(state.leader, brokers[state.leader].epoch, (proposal,))
        error = self.harness.submit(command).partitions[0].error
        if error is None or isinstance(error, NewLeaderElectedError):
            self.whole[topic.topic_id, number] |= {member.broker_id for member in members}  # they have caught up

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
            for number, standing in zip(numbers, standings, strict=True):
                relaxed = self.is_relaxed(topic.topic_id, broker_id)
                if standing is Standing.LOST or (standing is Standing.OFFLINE and relaxed):
                    self.whole.get((topic.topic_id, number), set()).discard(broker_id)
            self.harness.submit(ReportReplicas(broker_id, broker.epoch, replicas))
            for number, standing in zip(numbers, standings, strict=True):
                key = (topic.topic_id, number)
                if standing is Standing.DAMAGED and not self.harness.image.brokers[broker_id].serves(*key):
                    state = self.harness.image.topics[topic.topic_id].partitions[number]
                    if broker_id not in (*state.isr, *state.eligible_replicas):
                        self.whole.get(key, set()).discard(broker_id)  # it may cut itself to the damage now

    # --- what must hold ---

    def check(self) -> None:
        image = self.harness.image
        check_image(image)
        for doubted in self.doubted.values():
            doubted -= {broker_id for broker_id in BROKERS if image.is_active(broker_id)}
        for topic in image.topics.values():
            if any(self.is_relaxed(topic.topic_id, broker_id) for broker_id in BROKERS):
                self.relaxed_once.add(topic.topic_id)
            for number, state in enumerate(topic.partitions):
                key = (topic.topic_id, number)
                self.check_whole(key, state)
                if key in self.seen:
                    check_step(self.seen[key], state)
                self.seen[key] = state
                live = [
                    broker_id
                    for broker_id in state.isr
                    if image.is_active(broker_id) and image.brokers[broker_id].serves(*key)
                ]
                fenced = [broker_id for broker_id in state.isr if image.brokers[broker_id].fenced]
                assert not fenced or len(state.isr) == 1, "nobody who is fenced is in sync beside others (KIP-841)"
                assert not state.has_leader or state.leader in live, "a leader is live, and so is its replica"
                assert state.has_leader or not live, "a partition with a live member in sync has a leader"
        for fact in self.harness.facts[self.facts_seen :]:
            if isinstance(fact, UncleanElection) and not self.unclean:
                state = self.harness.partition(fact.topic, fact.partition)
                assert state.replicas == (fact.leader,), "only who is alone leads uncleanly without being asked"
                assert image.topic_ids[fact.topic] in self.relaxed_once
        self.facts_seen = len(self.harness.facts)

    def check_whole(self, key: tuple[UUID, int], state: PartitionState) -> None:
        """KIP-966: whoever leads cleanly, is in sync or eligible has everything that was committed."""
        before = self.seen.get(key)
        if before is None:
            self.whole[key] = set(state.isr)
            return
        whole = self.whole[key]
        name = self.harness.image.topics[key[0]].name
        for fact in self.harness.facts[self.facts_seen :]:
            if isinstance(fact, UncleanElection) and (fact.topic, fact.partition) == (name, key[1]):
                whole.clear()
                whole.add(fact.leader)
        assert not state.has_leader or state.leader in whole, "a leader has everything"
        assert set(state.isr) <= whole, "who is in sync has everything"
        assert set(state.eligible_replicas) <= whole, "who is eligible has everything"
        self.whole[key] = whole & set(state.replicas)

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
        assert sorted(kept.eligible_on(broker_id)) == sorted(made.eligible_on(broker_id))
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


def walk(seed: int) -> None:
    """A long walk from three brokers on; raises `AssertionError`."""
    chaos = Chaos(seed)
    for broker_id in BROKERS[:3]:
        chaos.harness.start(broker_id, life=0, disk=0)
    for _ in range(150):
        chaos.step()


@pytest.mark.parametrize("name", ["eligible-for-ever", "eligible-without-its-records", "moved-too-soon"])
def test_a_known_bug_is_found(name: str) -> None:
    assert any(tried.said for tried in look_for(BUGS[name], 0, 100))
