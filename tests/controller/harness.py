"""A controller with a log that commits at once, and a word for each thing that tests do with it."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import TypeVar
from uuid import UUID

from broker.controller.commands import (
    AlterPartition,
    Command,
    CreateTopics,
    Heartbeat,
    IsrMember,
    IsrProposal,
    NewTopic,
    RegisterBroker,
    TopicResult,
    UnregisterBroker,
)
from broker.controller.config import ControllerConfig
from broker.controller.core import ControllerCore
from broker.controller.result import Fact, Probe, Result
from broker.controller.sessions import NOBODY
from broker.metadata.features import SUPPORTED_FEATURES
from broker.metadata.image import MetadataImage
from broker.metadata.records import NO_LEADER, Endpoint, MetadataRecord, RegisterBrokerRecord
from broker.metadata.state import PartitionState
from kraftpy.errors import KraftpyError

R = TypeVar("R")


def registration(
    broker_id: int, life: int = 1, disk: int = 1, rack: str | None = None, host: str = "", disks: Sequence[int] = ()
) -> RegisterBrokerRecord:
    """Broker `broker_id` in its `life`-th life on its `disk`-th directory."""
    return RegisterBrokerRecord(
        broker_id,
        UUID(int=broker_id * 1_000 + life),
        UUID(int=broker_id * 1_000_000 + disk),
        (Endpoint("GRPC", "localhost", 9093),),
        rack=rack,
        host_label=host,
        features=SUPPORTED_FEATURES,
        log_directory_ids=tuple(UUID(int=10**9 + broker_id * 1_000 + number) for number in disks),
    )


class Harness:
    """Everything proposed is committed at once. `records` is the log, `facts` and `probes` all that was said."""

    def __init__(self, config: ControllerConfig | None = None, seed: int = 0) -> None:
        self.config = config or ControllerConfig()
        self.random = Random(seed)
        self.now_ms = 1_000_000
        self.epoch = 1
        self.records: list[MetadataRecord] = []
        self.facts: list[Fact] = []
        self.probes: list[Probe] = []
        self.core = ControllerCore(self.config, self.random, MetadataImage.EMPTY, self.epoch, self.now_ms)
        self._do(self.core.activate(self.now_ms))

    # --- the controller ---

    @property
    def image(self) -> MetadataImage:
        return self.core.image

    def submit(self, command: Command[R]) -> R:
        return self._do(self.core.handle(command, self.now_ms)).response

    def _do(self, result: Result[R]) -> Result[R]:
        if result.records:
            self.core.replay(result.records, len(self.records))
            self.records += result.records
            check_image(self.image)
        self.facts += result.facts
        self.probes += result.probes
        return result

    def advance(self, duration_ms: int, *beating: int) -> None:
        """Let time pass, while the brokers `beating` send heartbeats."""
        end_ms = self.now_ms + duration_ms
        while self.now_ms < end_ms:
            self.now_ms = min(end_ms, self.now_ms + 100)
            for broker_id in beating:
                self.beat(broker_id)
            self.tick()

    def tick(self) -> None:
        while True:
            deadline_ms = self.core.next_deadline_ms()
            if deadline_ms is None or deadline_ms > self.now_ms:
                return
            self._do(self.core.tick(self.now_ms))

    def fail_over(self, suspects: Mapping[int, int] = NOBODY) -> None:
        """Another node becomes the controller, with what is committed."""
        self.epoch += 1
        image = MetadataImage.load(self.image.records(), self.image.end_offset, self.epoch)
        self.core = ControllerCore(self.config, self.random, image, self.epoch, self.now_ms)
        self._do(self.core.activate(self.now_ms, suspects))

    # --- brokers ---

    def register(
        self, broker_id: int, life: int = 1, disk: int = 1, rack: str | None = None, host: str = "", clean: bool = False
    ) -> int:
        """`clean`: the life before ended by a clean stop."""
        return self.introduce(registration(broker_id, life, disk, rack, host), clean)

    def introduce(self, new: RegisterBrokerRecord, clean: bool = False) -> int:
        """Register a process that knows the registration before its own."""
        last = self.image.brokers.get(new.broker_id)
        epoch = -1 if last is None else last.epoch
        return self.submit(RegisterBroker(new, epoch, epoch if clean else -1)).broker_epoch

    def start(self, *broker_ids: int, life: int = 1, disk: int = 1, clean: bool = False) -> None:
        """Register and catch up."""
        for broker_id in broker_ids:
            self.register(broker_id, life, disk, clean=clean)
            self.beat(broker_id)
            assert self.image.is_active(broker_id)

    def beat(self, broker_id: int, *, want_shut_down: bool = False, want_fence: bool = False) -> tuple[bool, bool]:
        """A heartbeat of a broker that has applied everything: (fenced, should shut down)."""
        epoch = self.image.brokers[broker_id].epoch
        answer = self.submit(
            Heartbeat(broker_id, epoch, self.image.end_offset, want_fence=want_fence, want_shut_down=want_shut_down)
        )
        return answer.is_fenced, answer.should_shut_down

    def unregister(self, broker_id: int) -> None:
        self.submit(UnregisterBroker(broker_id))

    def fence(self, broker_id: int) -> None:
        self.beat(broker_id, want_fence=True)

    # --- topics ---

    def create(self, name: str, *assignment: tuple[int, ...], config: dict[str, str] | None = None) -> UUID:
        result = self.try_create(NewTopic(name, assignment=assignment, config=config or {}))
        assert result.error is None, result.error
        assert result.topic_id is not None
        return result.topic_id

    def try_create(self, topic: NewTopic, *, validate_only: bool = False) -> TopicResult:
        return self.submit(CreateTopics((topic,), validate_only)).topics[0]

    def propose_isr(
        self, name: str, partition: int, *isr: int, members: tuple[IsrMember, ...] = (), lacking: tuple[int, ...] = ()
    ) -> KraftpyError | None:
        """The leader proposes this set, with `members` besides, and without `lacking`; why it is refused, if it is."""
        topic, state = self.image.topic(name), self.partition(name, partition)
        assert topic is not None and state.has_leader
        named = tuple(IsrMember(broker_id, self.image.brokers[broker_id].epoch) for broker_id in isr)
        epochs = (state.leader_epoch, state.partition_epoch)
        proposal = IsrProposal(topic.topic_id, partition, *epochs, (*named, *members), lacking=lacking)
        leader_epoch = self.image.brokers[state.leader].epoch
        return self.submit(AlterPartition(state.leader, leader_epoch, (proposal,))).partitions[0].error

    def put(self, record: MetadataRecord) -> None:
        """Commit a record that nobody asked for."""
        self._do(Result(None, [record]))

    def partition(self, name: str, partition: int = 0) -> PartitionState:
        state = self.image.partition(name, partition)
        assert state is not None
        return state


def check_image(image: MetadataImage) -> None:
    """What holds for every image."""
    assert sorted(image.topic_ids.values()) == sorted(image.topics)
    for topic in image.topics.values():
        assert image.topic_ids[topic.name] == topic.topic_id
        for state in topic.partitions:
            assert state.replicas and len(set(state.replicas)) == len(state.replicas)
            assert set(state.isr) <= set(state.replicas) and len(set(state.isr)) == len(state.isr)
            assert state.leader in state.isr or state.leader == NO_LEADER
            eligible = state.eligible_replicas
            assert set(eligible) <= set(state.replicas) - set(state.isr) and len(set(eligible)) == len(eligible)
            assert set(state.last_known_elr) <= set(state.replicas) and not (state.has_leader and state.last_known_elr)
            original, adding, removing = state.original_replicas, state.adding_replicas, state.removing_replicas
            assert bool(original) == bool(adding or removing)
            if original:
                assert set(adding) == set(state.replicas) - set(original)
                assert set(removing) <= set(original) <= set(state.replicas)
                assert not set(state.target_replicas) <= set(state.isr), "a move that could be complete is"
