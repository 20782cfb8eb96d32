"""The shell: answers wait for commits, many at a time; whatever ends an epoch answers everybody."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

import pytest

from broker.controller.commands import (
    AllocateProducerIds,
    Command,
    CreateTopics,
    Heartbeat,
    HeartbeatAnswer,
    NewTopic,
    RegisterBroker,
    ReplicaReport,
    ReportReplicas,
    TopicResults,
    UnregisterBroker,
)
from broker.controller.config import ControllerConfig
from broker.controller.shell import ADMIN_IN_FLIGHT_MAX, ADMIN_WAITING_MAX, RECOVERY_PAUSE_MS, Controller
from broker.metadata.image import MetadataImage
from broker.metadata.records import FeatureLevelRecord, MetadataRecord
from broker.metadata.state import Standing
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    InvalidRequestError,
    NotControllerError,
    StaleBrokerEpochError,
    ThrottlingQuotaExceededError,
    TopicAlreadyExistsError,
)
from raft.events import VoterSet
from tests.controller.harness import registration
from tests.tools.stepped_clock import SteppedClock

EPOCH = 7


class HeldLog:
    """A quorum log that commits what it is told to, in order, and refuses what would stand elsewhere."""

    def __init__(self) -> None:
        self.image = MetadataImage.EMPTY
        self.end_offset = 0
        self.leads = True
        self.held = False
        self.refuse_next = 0
        self.overloaded_next = 0
        self.images_asked = 0
        self.waiting: list[tuple[Sequence[MetadataRecord], asyncio.Future[bool]]] = []

    async def propose(self, records: Sequence[MetadataRecord], base_offset: int, epoch: int) -> int:
        if not self.leads or base_offset != self.end_offset or self.refuse_next:
            self.refuse_next -= bool(self.refuse_next)
            raise NotControllerError("refused")
        self.end_offset += len(records)
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiting.append((records, committed))
        if not self.held:
            self.release()
        if not await committed:
            raise NotControllerError("lost")
        return base_offset + len(records)

    async def change_voters(self, voters: VoterSet, base_offset: int, epoch: int) -> int:
        """Stands in the log as a record that says nothing."""
        return await self.propose([FeatureLevelRecord("voters", 0)], base_offset, epoch)

    def release(self) -> None:
        for records, committed in self.waiting:
            self.image = self.image.apply(records, self.image.end_offset + len(records), EPOCH)[0]
            committed.set_result(True)
        self.waiting.clear()

    def lose(self) -> None:
        self.leads = False
        self.end_offset = self.image.end_offset
        for _, committed in self.waiting:
            committed.set_result(False)
        self.waiting.clear()

    async def committed_image(self, epoch: int) -> MetadataImage:
        self.images_asked += 1
        if not self.leads:
            raise NotControllerError("no leader")
        if self.overloaded_next:
            self.overloaded_next -= 1
            raise NotControllerError("the mailbox is full")
        return self.image  # what is not committed yet is not waited for


class Node:
    def __init__(self) -> None:
        self.log = HeldLog()
        self.clock = SteppedClock()
        self.alive: dict[int, bool] = {}
        self.probed: list[tuple[int, int]] = []
        self.controller = Controller(ControllerConfig(), self.log, self.probe, self.clock, Random(1))
        self.controller.activate(EPOCH, MetadataImage.EMPTY)

    async def probe(self, broker_id: int, broker_epoch: int) -> bool:
        self.probed.append((broker_id, broker_epoch))
        return self.alive.get(broker_id, True)

    async def start_broker(self, broker_id: int) -> int:
        epoch = (await self.controller.submit(RegisterBroker(registration(broker_id)))).broker_epoch
        answer = await self.controller.submit(Heartbeat(broker_id, epoch, self.log.end_offset))
        assert not answer.is_fenced
        return epoch


def story(tell: Callable[[Node], Awaitable[None]]) -> None:
    async def run() -> None:
        node = Node()
        try:
            await tell(node)
        finally:
            await node.controller.stop()
        assert node.controller.statistics.commands_in_flight == 0

    asyncio.run(run())


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


def create(name: str, *replicas: int) -> CreateTopics:
    return CreateTopics((NewTopic(name, assignment=(replicas or (1,),)),))


def error_of(results: TopicResults) -> Exception | None:
    return results.topics[0].error


def test_an_answer_waits_for_its_commit() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        node.log.held = True
        answer = asyncio.create_task(node.controller.submit(create("orders")))
        await turns()
        assert not answer.done()
        node.log.release()
        assert error_of(await answer) is None
        assert node.log.image.topic("orders") is not None

    story(tell)


def test_the_next_command_sees_what_is_not_committed_and_its_refusal_waits_for_it() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        node.log.held = True
        first = asyncio.create_task(node.controller.submit(create("orders")))
        await turns()
        second = asyncio.create_task(node.controller.submit(create("orders")))
        await turns()
        assert not first.done() and not second.done()
        node.log.release()
        assert error_of(await first) is None
        assert isinstance(error_of(await second), TopicAlreadyExistsError)

    story(tell)


def rests_on_what_is_not_committed(node: Node, epoch: int) -> list["asyncio.Task[Any]"]:
    """Broker 7 is unregistered; so it is not registered for those who ask next."""
    node.log.held = True
    commands: list[Command[Any]] = [UnregisterBroker(7), UnregisterBroker(7), Heartbeat(7, epoch, 0)]
    return [asyncio.create_task(node.controller.submit(command)) for command in commands]


def test_a_refusal_waits_for_the_changes_that_it_rests_on() -> None:
    async def tell(node: Node) -> None:
        epoch = (await node.controller.submit(RegisterBroker(registration(7)))).broker_epoch
        answers = rests_on_what_is_not_committed(node, epoch)
        await turns()
        assert not any(answer.done() for answer in answers)
        node.log.release()
        changed, *refused = await asyncio.gather(*answers, return_exceptions=True)
        assert changed is None and [type(error) for error in refused] == 2 * [BrokerIdNotRegisteredError]

    story(tell)


@pytest.mark.parametrize("knows", [True, False])
def test_a_refusal_is_not_told_where_the_changes_that_it_rests_on_are_lost(knows: bool) -> None:
    """Whether or not the node hears that it leads no more: nobody waits for ever."""

    async def tell(node: Node) -> None:
        epoch = (await node.controller.submit(RegisterBroker(registration(7)))).broker_epoch
        answers = rests_on_what_is_not_committed(node, epoch)
        await turns()
        if knows:
            node.controller.resign()
        node.log.lose()
        told = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(error) for error in told] == 3 * [NotControllerError]
        assert 7 in node.log.image.brokers

    story(tell)


def test_who_was_replaced_while_it_was_paused_answers_no_user_from_what_it_knew() -> None:
    """A topic "exists" that the next controller has deleted since; a rule refuses that is none any more."""

    async def tell(node: Node) -> None:
        epoch = await node.start_broker(1)
        assert error_of(await node.controller.submit(create("orders"))) is None
        node.log.leads = False  # and nobody has told the controller
        with pytest.raises(NotControllerError):
            await node.controller.submit(create("orders"))
        with pytest.raises(NotControllerError):
            await node.controller.submit(CreateTopics((NewTopic("most", 10_001, 1),)))
        answer = await node.controller.submit(Heartbeat(1, epoch, node.log.end_offset))
        assert not answer.is_fenced  # a broker's own are fenced by their epochs

    story(tell)


def test_many_commands_are_under_way_at_a_time_and_stand_in_order() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        node.log.held = True
        answers = [asyncio.create_task(node.controller.submit(create(f"t{number}"))) for number in range(50)]
        await turns(200)
        assert len(node.log.waiting) == 50
        node.log.release()
        assert all(error_of(result) is None for result in await asyncio.gather(*answers))
        assert [topic.name for topic in node.log.image.topics.values()] == [f"t{number}" for number in range(50)]

    story(tell)


def test_a_lost_epoch_answers_everything_parked() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        node.log.held = True
        answers = [asyncio.create_task(node.controller.submit(create(f"t{number}"))) for number in range(3)]
        await turns()
        node.log.lose()
        node.controller.resign()
        for result in await asyncio.gather(*answers, return_exceptions=True):
            assert isinstance(result, NotControllerError)
        with pytest.raises(NotControllerError):
            await node.controller.submit(create("later"))

    story(tell)


def test_resigning_answers_without_waiting_for_the_log() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        node.log.held = True
        answer = asyncio.create_task(node.controller.submit(create("orders")))
        await turns()
        node.controller.resign()
        with pytest.raises(NotControllerError):
            await answer
        node.log.release()

    story(tell)


def test_a_refused_proposal_makes_the_controller_begin_anew_from_what_is_committed() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        node.log.refuse_next = 1
        first = asyncio.create_task(node.controller.submit(create("refused")))
        second = asyncio.create_task(node.controller.submit(create("behind it")))
        third = asyncio.create_task(node.controller.submit(create("orders")))
        results = await asyncio.gather(first, second, third, return_exceptions=True)
        assert isinstance(results[0], NotControllerError)
        assert isinstance(results[2], NotControllerError), "it would have stood at another offset than was replayed"
        await until(lambda: node.controller.is_active)
        assert error_of(await node.controller.submit(create("refused"))) is None

    story(tell)


def test_a_controller_that_begins_anew_while_the_quorum_is_busy_tries_again() -> None:
    async def tell(node: Node) -> None:
        epoch = await node.start_broker(1)
        node.log.refuse_next, node.log.overloaded_next = 1, 2
        with pytest.raises(NotControllerError):
            await node.controller.submit(create("refused"))
        await until(lambda: node.controller.is_active)
        answer = await node.controller.submit(Heartbeat(1, epoch, node.log.end_offset))
        assert not answer.is_fenced and node.log.images_asked == 3

    story(tell)


def test_it_tries_with_pauses_and_no_longer_than_it_leads() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        node.log.refuse_next, node.log.overloaded_next = 1, 1_000
        with pytest.raises(NotControllerError):
            await node.controller.submit(create("refused"))
        began_s = time.monotonic()
        await until(lambda: node.log.images_asked >= 2)
        assert time.monotonic() - began_s > RECOVERY_PAUSE_MS / 1_000
        node.controller.resign()
        asked = node.log.images_asked
        await asyncio.sleep(3.5 * RECOVERY_PAUSE_MS / 1_000)
        assert node.log.images_asked <= asked + 1 and not node.controller.is_active

    story(tell)


def test_a_broker_registered_twice_by_retry_keeps_its_epoch() -> None:
    async def tell(node: Node) -> None:
        command = RegisterBroker(registration(1))
        node.log.held = True
        first = asyncio.create_task(node.controller.submit(command))
        await turns()
        second = asyncio.create_task(node.controller.submit(command))
        await turns()
        assert not second.done(), "the epoch is not committed yet"
        node.log.release()
        assert await first == await second
        assert node.log.image.brokers[1].epoch == (await first).broker_epoch

    story(tell)


def test_refusals_are_raised_and_change_nothing() -> None:
    async def tell(node: Node) -> None:
        epoch = await node.start_broker(1)
        before = node.log.end_offset
        with pytest.raises(StaleBrokerEpochError):
            await node.controller.submit(Heartbeat(1, epoch - 1, 0))
        assert node.log.end_offset == before

    story(tell)


def test_a_suspect_that_nobody_answers_for_is_fenced_at_once() -> None:
    async def tell(node: Node) -> None:
        first = await node.start_broker(1)
        second = await node.start_broker(2)
        await node.controller.submit(create("orders", 1, 2))
        node.alive = {1: False, 2: True}
        node.controller.activate(EPOCH, node.log.image, suspects={1: 0, 2: 0})
        await turns()
        assert node.probed == [(1, first), (2, second)]
        assert node.log.image.brokers[1].fenced and not node.log.image.brokers[2].fenced
        orders = node.log.image.partition("orders", 0)
        assert orders is not None and (orders.leader, orders.isr, orders.leader_epoch) == (2, (2,), 1)
        assert node.controller.statistics.brokers_fenced == 1

    story(tell)


def test_a_broker_whose_connection_broke_is_looked_for_and_fenced_if_nobody_answers() -> None:
    async def tell(node: Node) -> None:
        first = await node.start_broker(1)
        second = await node.start_broker(2)
        node.alive = {1: False, 2: True}
        for broker_id in (1, 2, 3):  # nobody knows a broker 3
            node.controller.suspect(broker_id)
        await turns()
        assert node.probed == [(1, first), (2, second)]
        assert node.log.image.brokers[1].fenced and not node.log.image.brokers[2].fenced
        node.controller.resign()
        node.controller.suspect(2)  # no matter of this node any more
        await turns()
        assert len(node.probed) == 2

    story(tell)


def test_the_tick_fences_who_is_silent() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        config = ControllerConfig(broker_session_timeout_ms=20, broker_heartbeat_interval_ms=5)
        controller = Controller(config, node.log, node.probe, node.clock, Random(1))
        node.controller.resign()
        controller.activate(EPOCH, node.log.image)
        node.clock.now_ms += 21
        await until(lambda: node.log.image.brokers[1].fenced)
        await controller.stop()

    story(tell)


def test_a_report_of_replicas_that_changes_nothing_is_answered_only_by_who_leads_still() -> None:
    """The broker does not repeat it: what the next controller knows may be otherwise."""

    async def tell(node: Node) -> None:
        epoch = await node.start_broker(1)
        await node.controller.submit(ReportReplicas(1, epoch, ()))
        node.log.leads = False  # and nobody has told the controller
        with pytest.raises(NotControllerError):
            await node.controller.submit(ReportReplicas(1, epoch, ()))

    story(tell)


def test_what_came_too_late_comes_too_late_for_a_controller_that_has_begun_anew() -> None:
    async def tell(node: Node) -> None:
        epoch = await node.start_broker(1)
        await node.controller.submit(ReportReplicas(1, epoch, (), EPOCH, number=2))
        node.log.refuse_next = 1
        with pytest.raises(NotControllerError):
            await node.controller.submit(create("orders"))
        await until(lambda: node.controller.is_active)
        with pytest.raises(InvalidRequestError, match="later"):
            await node.controller.submit(ReportReplicas(1, epoch, (), EPOCH, number=1))
        await node.controller.submit(ReportReplicas(1, epoch, (), EPOCH, number=3))

    story(tell)


def test_brokers_own_commands_do_not_wait_behind_users() -> None:
    async def tell(node: Node) -> None:
        epoch = await node.start_broker(1)
        assert error_of(await node.controller.submit(create("orders"))) is None
        topic = node.log.image.topic("orders")
        assert topic is not None
        node.log.held = True
        commands = [create(f"t{number}") for number in range(ADMIN_IN_FLIGHT_MAX + ADMIN_WAITING_MAX + 1)]
        answers = [asyncio.create_task(node.controller.submit(command)) for command in commands]
        await turns(5)
        results = [answer.exception() for answer in answers if answer.done()]
        assert [type(result) for result in results] == [ThrottlingQuotaExceededError]
        report = ReportReplicas(1, epoch, (ReplicaReport(topic.topic_id, 0, Standing.OFFLINE),))
        told = asyncio.create_task(node.controller.submit(report))
        block = asyncio.create_task(node.controller.submit(AllocateProducerIds(1, epoch)))
        beat = asyncio.create_task(node.controller.submit(Heartbeat(1, epoch, 1)))
        await turns()
        node.log.release()
        async with asyncio.timeout(5):
            await told
            assert (await block).count
            assert await beat == HeartbeatAnswer(is_fenced=False, should_shut_down=False)
        node.log.held = False
        node.log.release()
        await asyncio.gather(*answers, return_exceptions=True)

    story(tell)


def test_a_change_of_the_voters_takes_its_place_among_the_changes_of_metadata() -> None:
    async def tell(node: Node) -> None:
        await node.start_broker(1)
        node.log.held = True
        before = asyncio.create_task(node.controller.submit(create("before")))
        change = asyncio.create_task(node.controller.change_voters(VoterSet(())))
        after = asyncio.create_task(node.controller.submit(create("after")))
        await turns(200)
        assert [len(records) for records, _ in node.log.waiting] == [2, 1, 2]
        assert not change.done()
        node.log.release()
        await change
        for result in await asyncio.gather(before, after):
            assert error_of(result) is None
        assert node.controller.statistics.commands_in_flight == 0

    story(tell)


def test_a_change_of_the_voters_that_is_refused_or_lost_is_told() -> None:
    async def tell(node: Node) -> None:
        node.log.refuse_next = 1
        with pytest.raises(NotControllerError, match="before the new voters were committed"):
            await node.controller.change_voters(VoterSet(()))
        await until(lambda: node.controller.is_active)
        await node.controller.change_voters(VoterSet(()))
        node.controller.resign()
        with pytest.raises(NotControllerError, match="not the active controller"):
            await node.controller.change_voters(VoterSet(()))

    story(tell)
