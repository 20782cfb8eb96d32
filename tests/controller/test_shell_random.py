"""The shell over a log that delays, refuses and loses: what was answered is committed, and everybody is answered.

The log is a plain list; a change of leader cuts its uncommitted end and lets a twin controller go on from the rest.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.controller.commands import (
    CreateTopics,
    DeleteTopics,
    Heartbeat,
    NewTopic,
    RegisterBroker,
    UnregisterBroker,
)
from broker.controller.config import ControllerConfig
from broker.controller.shell import Controller
from broker.metadata.image import MetadataImage
from broker.metadata.records import FeatureLevelRecord, MetadataRecord
from kraftpy.errors import BrokerIdNotRegisteredError, KraftpyError, NotControllerError
from raft.events import VoterSet
from simulation.loop import Loop
from tests.controller.harness import check_image, registration

Entry = tuple[Sequence[MetadataRecord], "asyncio.Future[bool]"]


class LoopClock:
    def monotonic_ms(self) -> int:
        return round(asyncio.get_running_loop().time() * 1_000)

    def wall_ms(self) -> int:
        return self.monotonic_ms()


class ShakyLog:
    """Commits in order after random delays. `refusals` is the share of proposals that it refuses without a reason."""

    def __init__(self, random: Random, refusals: float) -> None:
        self.random = random
        self.refusals = refusals
        self.epoch = 1
        self.image = MetadataImage.EMPTY
        self.open: list[Entry] = []

    @property
    def end_offset(self) -> int:
        return self.image.end_offset + sum(len(records) for records, _ in self.open)

    async def propose(self, records: Sequence[MetadataRecord], base_offset: int, epoch: int) -> int:
        if epoch != self.epoch or base_offset != self.end_offset or self.random.random() < self.refusals:
            raise NotControllerError("refused")
        committed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.open.append((records, committed))
        if not await committed:
            raise NotControllerError("its fate is unknown")
        return base_offset + len(records)

    async def change_voters(self, voters: VoterSet, base_offset: int, epoch: int) -> int:
        """Stands in the log as a record that says nothing."""
        return await self.propose([FeatureLevelRecord("voters", 0)], base_offset, epoch)

    def commit(self, count: int) -> None:
        for records, committed in self.open[:count]:
            self.image = self.image.apply(records, self.image.end_offset + len(records), self.epoch)[0]
            check_image(self.image)
            committed.set_result(True)
        del self.open[:count]

    def change_leader(self) -> None:
        """Some of what was open survives, though its proposers never hear of it; the rest is cut."""
        survivors = self.random.randint(0, len(self.open))
        for position, (records, committed) in enumerate(self.open):
            if position < survivors:
                self.image = self.image.apply(records, self.image.end_offset + len(records), self.epoch)[0]
            committed.set_result(False)
        self.open.clear()
        self.epoch += 1

    async def committed_image(self, epoch: int) -> MetadataImage:
        if epoch != self.epoch:
            raise NotControllerError("another epoch")
        return self.image


async def probe(broker_id: int, broker_epoch: int) -> bool:
    return True


class World:
    def __init__(self, seed: int, refusals: float) -> None:
        self.random = Random(seed)
        self.log = ShakyLog(self.random, refusals)
        self.controllers = [
            Controller(ControllerConfig(), self.log, probe, LoopClock(), Random(seed + number)) for number in range(2)
        ]
        self.active = self.controllers[0]
        self.active.activate(1, MetadataImage.EMPTY)
        self.created: dict[str, None] = {}
        self.deleted: dict[str, None] = {}
        self.answers = 0
        self.stormy = True

    async def run(self) -> None:
        weather = asyncio.create_task(self.weather())
        workers = [asyncio.create_task(self.work(number)) for number in range(6)]
        workers += [asyncio.create_task(self.broker()), asyncio.create_task(self.unregister())]
        await asyncio.gather(*workers)
        self.stormy = False
        await weather
        self.log.refusals = 0
        await self.settle()
        self.check()
        for controller in self.controllers:
            await controller.stop()
            assert controller.statistics.commands_in_flight == 0

    async def weather(self) -> None:
        while self.stormy:
            await asyncio.sleep(self.random.uniform(0, 0.05))
            if self.random.random() < 0.1:
                self.active.resign()
                self.log.change_leader()
                await asyncio.sleep(self.random.uniform(0, 0.05))
                self.active = self.random.choice(self.controllers)
                self.active.activate(self.log.epoch, self.log.image, suspects={1: 0})
            else:
                self.log.commit(self.random.randint(0, len(self.log.open)))

    async def work(self, worker: int) -> None:
        """Create and delete topics of its own, and remember what was answered."""
        random = Random(worker)
        for number in range(30):
            name = f"t{worker}-{number}"
            await asyncio.sleep(random.uniform(0, 0.03))
            try:
                result = (await self.active.submit(CreateTopics((NewTopic(name, 1, 1),)))).topics[0]
                self.answers += 1
                if result.error is not None:
                    continue
                self.created[name] = None
                if random.random() < 0.3:
                    gone = (await self.active.submit(DeleteTopics((name,)))).topics[0]
                    if gone.error is None:
                        self.deleted[name] = None
            except NotControllerError:
                self.answers += name not in self.created
                self.created.pop(name, None)  # whether it was created or deleted is not known

    async def broker(self) -> None:
        for _ in range(60):
            try:
                epoch = (await self.active.submit(RegisterBroker(registration(1)))).broker_epoch
                await self.active.submit(Heartbeat(1, epoch, self.log.image.end_offset))
            except KraftpyError:
                pass
            await asyncio.sleep(0.02)

    async def unregister(self) -> None:
        """Ask twice: the second is refused for what the first has changed, and what it is told is committed, too."""
        for life in range(30):
            with suppress(KraftpyError):
                old = self.log.image.brokers.get(2)
                await self.active.submit(RegisterBroker(registration(2, life), -1 if old is None else old.epoch))
            await asyncio.gather(self.unregister_once(), self.unregister_once())

    async def unregister_once(self) -> None:
        try:
            await self.active.submit(UnregisterBroker(2))
        except BrokerIdNotRegisteredError:
            assert 2 not in self.log.image.brokers
        except NotControllerError:
            pass

    async def settle(self) -> None:
        """Good weather: everything that is open is committed, and the controller is there."""
        for _ in range(200):
            self.log.commit(len(self.log.open))
            await asyncio.sleep(0.02)
            if self.active.is_active and not self.log.open:
                return
        raise AssertionError("the controller did not come back")

    def check(self) -> None:
        assert self.answers == 6 * 30, "everybody is answered once"
        for name in self.created:
            assert (name in self.log.image.topic_ids) == (name not in self.deleted), name


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.2]))
def test_what_was_answered_is_committed_and_everybody_is_answered(seed: int, refusals: float) -> None:
    loop = Loop(seed, time_limit_ms=600_000)
    try:

        async def main() -> None:
            await World(seed, refusals).run()

        loop.run_until_complete(main())
    finally:
        loop.close()
