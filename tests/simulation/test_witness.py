"""Everything that the witness watches for is noticed when it is planted, and a life as it should be is not."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from uuid import UUID

import pytest

from broker.metadata.delta import MetadataDelta
from broker.metadata.features import METADATA_VERSION
from broker.metadata.image import MetadataImage, delta_between
from broker.metadata.records import (
    BrokerChangeRecord,
    ConfigRecord,
    FeatureLevelRecord,
    MetadataRecord,
    PartitionChangeRecord,
    PartitionRecord,
    RegisterBrokerRecord,
    TopicRecord,
    topic_resource,
)
from kraftpy.record import Record, encode_batch
from simulation.disk import SimulatedDisk
from simulation.durable_logs import DurableLogs
from simulation.witness import ReplicaSeen, Witness
from simulation.world import World
from tests.controller.harness import registration

TOPIC = UUID(int=7)
DATA = "/data"
NOTHING = MetadataDelta()


@dataclass(frozen=True, slots=True)
class Scene:
    """Three brokers and a topic, led by 1, which `n1` has published."""

    world: World
    witness: Witness
    image: MetadataImage

    def after(self, *records: MetadataRecord) -> list[str]:
        """What the witness says when `n1` publishes these on top."""
        later, delta = self.image.apply(records, self.image.end_offset + len(records), 1)
        self.witness.published("n1.1", later, delta)
        return self.world.violations


@pytest.fixture
def scene() -> Iterator[Scene]:
    records: list[MetadataRecord] = [replace(registration(broker_id), fenced=False) for broker_id in (1, 2, 3)]
    records += [TopicRecord("t", TOPIC), PartitionRecord(TOPIC, 0, (1, 2, 3), (1, 2, 3), 1, 0, 0)]
    world = World(1)
    witness = Witness(world, (DATA,))
    image, delta = MetadataImage.EMPTY.apply(records, len(records), 1)
    witness.published("n1.1", image, delta)
    assert not world.violations
    yield Scene(world, witness, image)
    world.loop.close()


def test_a_failover_is_fine(scene: Scene) -> None:
    fence = BrokerChangeRecord(1, 0, fenced=True)
    assert scene.after(PartitionChangeRecord(TOPIC, 0, isr=(2, 3), leader=2), fence) == []


def test_two_leaders_of_the_quorum_in_one_epoch(scene: Scene) -> None:
    world, witness = scene.world, scene.witness
    witness.leads("n1.1", 5)
    witness.leads("n2.1", 6)
    assert not world.violations
    witness.leads("n1.2", 5)
    assert "both led the quorum in epoch 5" in world.violations[0]


def test_other_metadata_at_the_same_offset(scene: Scene) -> None:
    world, witness, image = scene.world, scene.witness, scene.image
    witness.published("n2.1", replace(image, next_producer_id=1), NOTHING)
    assert "other metadata" in world.violations[0]


def test_metadata_that_goes_back(scene: Scene) -> None:
    world, witness = scene.world, scene.witness
    witness.published("n1.2", MetadataImage.EMPTY, NOTHING)
    assert not world.violations, "another life begins anew"
    witness.published("n1.1", MetadataImage.EMPTY, NOTHING)
    assert "went back" in world.violations[0]


def test_a_leader_from_outside_of_the_in_sync_set(scene: Scene) -> None:
    assert "led from outside" in scene.after(PartitionChangeRecord(TOPIC, 0, isr=(2, 3)))[0]


def test_an_in_sync_replica_that_is_none(scene: Scene) -> None:
    assert "that are none" in scene.after(PartitionChangeRecord(TOPIC, 0, isr=(1, 4)))[0]


def test_a_fenced_member_of_an_in_sync_set(scene: Scene) -> None:
    fence = BrokerChangeRecord(3, 2, fenced=True)
    assert "counts the fenced [3]" in scene.after(fence, PartitionChangeRecord(TOPIC, 0, isr=(1, 3)))[0]


def test_a_broker_that_is_fenced_while_its_sets_are_left_alone(scene: Scene) -> None:
    assert "t-0 counts the fenced [3]" in scene.after(BrokerChangeRecord(3, 2, fenced=True))[0]


@pytest.mark.parametrize("eligible", [(), (3,)])
def test_who_is_elected_was_in_sync_or_eligible(scene: Scene, eligible: tuple[int, ...]) -> None:
    """Whatever the record says of itself."""
    topic = scene.image.topics[TOPIC]
    alone = replace(topic.partitions[0], isr=(1,), eligible_replicas=eligible)
    led = replace(scene, image=replace(scene.image, topics={TOPIC: replace(topic, partitions=(alone,))}))
    told = led.after(PartitionChangeRecord(TOPIC, 0, isr=(3,), leader=3))
    assert told == [] if eligible else "3 leads, and was neither in sync nor eligible" in told[0]


def test_a_second_life_that_leads_in_the_epoch_of_the_first(scene: Scene) -> None:
    anew: RegisterBrokerRecord = replace(registration(1, life=2), fenced=False)
    assert "two lives lead in epoch 0" in scene.after(anew, PartitionChangeRecord(TOPIC, 0, isr=(1, 2)))[0]


@pytest.mark.parametrize("wanted", [False, True])
def test_an_unclean_election_passes_only_where_somebody_wanted_it(scene: Scene, wanted: bool) -> None:
    if wanted:
        scene.witness.expect_loss("t")
    told = scene.after(PartitionChangeRecord(TOPIC, 0, isr=(2,), leader=2, recovering=True))
    assert scene.witness.unclean_elections == {("t", 0, 1): 2}
    assert told == [] if wanted else "nobody wanted an unclean election" in told[0]


@pytest.mark.parametrize("level", [3, 4])
def test_a_level_that_a_registered_broker_cannot_work_with(scene: Scene, level: int) -> None:
    told = scene.after(FeatureLevelRecord(METADATA_VERSION, level))
    assert told == [] if level == 3 else "metadata.version=4, this node knows 1 to 3" in told[0]


def test_epochs_that_go_back_and_leaders_that_change_without_one(scene: Scene) -> None:
    world, witness, image = scene.world, scene.witness, scene.image
    topic = image.topics[TOPIC]
    first = topic.partitions[0]
    for state in (replace(first, leader=2), replace(first, partition_epoch=-1)):
        other = replace(image, end_offset=50, topics={TOPIC: replace(topic, partitions=(state,))})
        witness.published("n1.1", other, delta_between(image, other))
        assert world.violations
        world.violations.clear()


# --- disks -----------------------------------------------------------------------------------------------------------


def written(world: World, host: str, *values: bytes, sync: bool = True) -> None:
    """One batch a value in the log of t-0 on a host."""
    disk = SimulatedDisk(world.device(host))
    disk.make_directory(f"{DATA}/t-0")
    for path in ("/", DATA, f"{DATA}/t-0"):
        disk.sync_directory(path)
    file = disk.open(f"{DATA}/t-0/{0:020}.log", create=True)
    disk.sync_directory(f"{DATA}/t-0")
    data = b"".join(
        encode_batch([Record(offset, 0, None, value, ())], base_offset=offset, leader_epoch=0)
        for offset, value in enumerate(values)
    )
    file.write([data], 0)
    if sync:
        file.sync()


def seen(high_watermark: int, log_start: int = 0) -> list[ReplicaSeen]:
    return [ReplicaSeen(TOPIC, 0, log_start, high_watermark)]


def test_equal_disks_are_fine_also_where_one_has_more(scene: Scene) -> None:
    world, witness = scene.world, scene.witness
    for host, values in (("n1", b"abc"), ("n2", b"ab"), ("n3", b"abd")):
        written(world, host, *(bytes([value]) for value in values))
    witness.look(seen(1))
    witness.look(seen(2))
    assert not world.violations and (witness.looks, witness.committed_batches) == (2, 2)


def test_a_committed_record_that_is_not_durable_on_a_member(scene: Scene) -> None:
    world, witness = scene.world, scene.witness
    for host in ("n1", "n2", "n3"):
        written(world, host, b"a", b"b", sync=host != "n3")
    witness.look(seen(2))
    assert world.violations == ["t-0 on n3, which is in sync: 2 is committed, but only 0 is durable"]


@pytest.mark.parametrize("role", ["neither", "eligible", "wanted"])
def test_a_committed_record_that_is_not_on_an_eligible_leader(scene: Scene, role: str) -> None:
    world, witness = scene.world, scene.witness
    for host in ("n1", "n2", "n3"):
        written(world, host, b"a", b"b", sync=host != "n3")
    if role == "wanted":
        witness.expect_loss("t")
    scene.after(PartitionChangeRecord(TOPIC, 0, isr=(1,), eligible_replicas=(2,) if role == "neither" else (2, 3)))
    witness.look(seen(2))
    problem = "t-0 on n3, which is eligible: 2 is committed, but only 0 is durable"
    assert world.violations == ([problem] if role == "eligible" else [])


def test_a_committed_record_that_another_has_replaced(scene: Scene) -> None:
    world, witness = scene.world, scene.witness
    for host in ("n1", "n2", "n3"):
        written(world, host, b"a", b"b" if host != "n2" else b"c")
    witness.look(seen(1))
    assert not world.violations
    witness.look(seen(2))
    assert "t-0 on n2" in world.violations[0]


def test_what_was_deleted_is_nobodys_to_differ_in(scene: Scene) -> None:
    """Seed 1400112 of a campaign: who was cut off has other records below what DeleteRecords left elsewhere."""
    world, witness = scene.world, scene.witness
    scene.after(ConfigRecord(topic_resource("t"), "retention.bytes", "1"))
    for host in ("n1", "n2", "n3"):
        written(world, host, b"a" if host != "n2" else b"x", b"b", b"c" if host != "n3" else b"y")
    witness.look(seen(2, log_start=1))
    assert not world.violations
    assert witness.log_starts() == {"t-0": 1}
    witness.look(seen(3, log_start=1))
    assert "t-0 on n3" in world.violations[0]


def test_a_log_that_begins_later_though_nobody_limits_what_it_keeps(scene: Scene) -> None:
    """When all replicas obey a leader that has lost its beginning, they are equal, and readers begin behind it."""
    for host in ("n1", "n2", "n3"):
        written(scene.world, host, b"a", b"b")
    scene.witness.look(seen(2, log_start=1))
    assert scene.world.violations == ["t-0 begins at 1, and nobody limits what it keeps"]


@pytest.mark.parametrize("compacts", [False, True])
def test_replicas_of_a_compacted_topic_are_judged_where_nobody_compacts(scene: Scene, compacts: bool) -> None:
    witness = Witness(scene.world, (DATA,), compacts=compacts)
    image, delta = scene.image.apply([ConfigRecord(topic_resource("t"), "cleanup.policy", "compact")], 50, 1)
    witness.published("n1.1", image, delta)
    for host in ("n1", "n2", "n3"):
        written(scene.world, host, b"a", b"b", sync=host != "n3")
    witness.look(seen(2))
    assert bool(scene.world.violations) == (not compacts)


def test_a_committed_record_that_is_damaged_behind_its_header(scene: Scene) -> None:
    for host in ("n1", "n2", "n3"):
        written(scene.world, host, b"a", b"b")
    path = f"{DATA}/t-0/{0:020}.log"
    scene.world.device("n2").flip_bit(path, scene.world.device("n2").file(path).size - 1)
    scene.witness.look(seen(2))
    assert scene.world.violations == ["t-0 on n2, which is in sync: 2 is committed, but only 1 is durable"]


def test_what_is_committed_is_remembered_when_everybody_has_forgotten_it(scene: Scene) -> None:
    world, witness = scene.world, scene.witness
    for host in ("n1", "n2", "n3"):
        written(world, host, b"a", b"b")
    witness.look(seen(2))
    for host in ("n1", "n2", "n3"):
        world.device(host).wipe()
        written(world, host, b"a", b"c")
    witness.look(seen(1))
    assert "is committed" in world.violations[0]


@pytest.mark.parametrize("seed", range(20))
def test_a_look_at_what_has_changed_says_what_a_look_at_everything_says(scene: Scene, seed: int) -> None:
    """Three logs that grow, lag and are replaced; the second witness reads and compares everything each time."""
    world, random = scene.world, Random(seed)
    forgetful = Witness(world, (DATA,))
    forgetful.published("n1.1", scene.image, NOTHING)
    for host in ("n1", "n2", "n3"):
        written(world, host, b"a")
    values, watermark = [b"a"], 0
    for _ in range(30):
        if random.random() < 0.4:
            values.append(b"v")
        for host in ("n1", "n2", "n3"):
            other = [*values[:-1], b"w"] if random.random() < 0.02 else values
            if random.random() < 0.5:
                written(world, host, *other[: len(values) - random.randrange(2)], sync=random.random() < 0.9)
        watermark = min(len(values) - 1, watermark + random.randrange(2))
        said = []
        for witness in (scene.witness, forgetful):
            witness.look(seen(watermark))
            said.append((list(world.violations), witness.committed_batches))
            world.violations.clear()
        assert said[0] == said[1]
        forgetful._disks = DurableLogs((DATA,))
        forgetful._agreed.clear()
