"""The controller on the node that leads the quorum: it commits what the core decides, and answers after that.

    activate → (submit, tick)* → resign

A command is handled, its records are proposed and at once replayed, so that the next command sees them; its answer is
parked until they are committed. Many commands are under way at a time, and nothing waits for a commit but answers.

Invariants:
- one core an epoch: whatever ends the epoch, or makes its picture doubtful (a refused proposal), throws the core away;
- proposals go out in the order in which they were replayed, each with the offset at which it must stand, and the log
  refuses one that would stand elsewhere: so what is committed is what the core has seen, or nothing;
- whatever is told, a refusal as well, waits for the proposals before it: it may rest on them;
- what a user is told without a record being written, or a broker that reports its replicas, is confirmed by a round of
  the quorum: a node that was paused may have been replaced, and would answer from what it knew (Raft thesis, 6.4);
- every parked command is answered exactly once: with its response, or with `NotControllerError`, and then its records
  may or may not be committed in the end (commands can be sent again, see `commands`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol, TypeVar

from broker.controller.commands import (
    AllocateProducerIds,
    AlterPartition,
    BrokerUnreachable,
    Command,
    Heartbeat,
    RegisterBroker,
    ReportReplicas,
)
from broker.controller.config import ControllerConfig
from broker.controller.core import ControllerCore
from broker.controller.result import BrokerFenced, Fact, Probe, ReplicasReported, Result, UncleanElection
from broker.controller.sessions import NOBODY
from broker.controller.turns import Turns
from broker.metadata.image import MetadataImage
from broker.metadata.records import MetadataRecord
from kraftpy.errors import KraftpyError, NotControllerError, ThrottlingQuotaExceededError
from kraftpy.runtime.ports import Clock
from raft.events import VoterSet

logger = logging.getLogger(__name__)

R = TypeVar("R")

ADMIN_IN_FLIGHT_MAX: Final = 100
"""Commands of users that are under way together. Brokers' own (one a broker, and small) do not wait behind them."""

ADMIN_WAITING_MAX: Final = 1_000
"""Commands of users that wait for that; one more is answered THROTTLING_QUOTA_EXCEEDED."""

RECOVERY_PAUSE_MS: Final = 100
"""Before the controller begins anew after a proposal was refused although this node still leads."""


class MetadataLog(Protocol):
    """The quorum's log, as its leader has it."""

    async def propose(self, records: Sequence[MetadataRecord], base_offset: int, epoch: int) -> int:
        """Append `records` as one atomic entry if this node leads `epoch`; its end offset, once committed.

        The place is taken before the first suspension. An entry that would not stand at `base_offset` is refused, as by
        Kafka's own quorum. Raises `NotControllerError` where it was refused or its fate is unknown.
        """

    async def change_voters(self, voters: VoterSet, base_offset: int, epoch: int) -> int:
        """Put a voter set in force, one entry of one offset, which takes its place as `propose` does; raises alike."""

    async def committed_image(self, epoch: int) -> MetadataImage:
        """The image with everything that was committed before the call, once the quorum says that this node leads.

        Nothing waits for what is proposed and not committed yet. Raises `NotControllerError` where this node does not
        lead `epoch`.
        """


BrokerProbe = Callable[[int, int], Awaitable[bool]]
"""(broker id, broker epoch) → whether that life of the broker may be there. False only where it is certainly not:
nobody listens, or another life answers. Silence within a short deadline is no proof (a pause looks like it): True."""


@dataclass(frozen=True, slots=True)
class ControllerStatistics:
    """A snapshot, for metrics."""

    is_active: bool
    epoch: int  # of the quorum in which it is or was last active
    commands_in_flight: int
    unclean_elections: int  # since the process began
    brokers_fenced: int


class Controller:
    """Exists on every voter; active on the one that leads the quorum."""

    def __init__(
        self,
        config: ControllerConfig,
        log: MetadataLog,
        probe: BrokerProbe,
        clock: Clock,
        random: Random,
    ) -> None:
        self._config = config
        self._log = log
        self._probe = probe
        self._clock = clock
        self._random = random
        self._core: ControllerCore | None = None
        self._turns = Turns(0)
        self._epoch = 0
        self._leads = False
        self._life = 0  # rises whenever a core is made or thrown away
        self._last: asyncio.Future[bool] | None = None  # the newest proposal: whether it was committed
        self._last_sent: asyncio.Future[None] | None = None
        self._parked: dict[asyncio.Future[bool], None] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(ADMIN_IN_FLIGHT_MAX)
        self._waiting = 0
        self._unclean_elections = 0
        self._brokers_fenced = 0

    # --- life ---

    @property
    def is_active(self) -> bool:
        return self._core is not None

    @property
    def statistics(self) -> ControllerStatistics:
        return ControllerStatistics(
            self.is_active, self._epoch, len(self._parked), self._unclean_elections, self._brokers_fenced
        )

    def activate(self, epoch: int, image: MetadataImage, suspects: Mapping[int, int] = NOBODY) -> None:
        """This node leads the quorum in `epoch`; `image` is everything in the log, committed and applied.

        `suspects` are brokers that may be dead, each with the ms for which it is known to have been silent: they are
        probed at once.
        """
        self._drop()
        self._leads = True
        self._epoch = epoch
        now_ms = self._clock.monotonic_ms()
        if self._turns.epoch != epoch:
            self._turns = Turns(epoch)
        self._core = ControllerCore(self._config, self._random, image, epoch, now_ms, self._turns)
        logger.info("controller is active in epoch %d from offset %d", epoch, image.end_offset)
        self._accept(self._core.activate(now_ms, suspects))
        self._ticker = self._spawn(self._tick(self._core))

    def resign(self) -> None:
        """This node no longer leads: everything parked is answered, the core is thrown away."""
        if self._leads:
            logger.info("controller is no longer active in epoch %d", self._epoch)
        self._leads = False
        self._drop()

    def _drop(self) -> None:
        self._life += 1
        self._core = None
        self._last = None
        self._last_sent = None
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        for parked in list(self._parked):
            _settle(parked, False)

    async def stop(self) -> None:
        """Resign and end everything."""
        self.resign()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- commands ---

    async def submit(self, command: Command[R]) -> R:
        """The answer, once what it says is committed.

        Raises `NotControllerError` (ask the active controller; what was asked may or may not have happened), and the
        command's own refusals.
        """
        is_fenced_by_epochs = isinstance(command, Heartbeat | AlterPartition | RegisterBroker | BrokerUnreachable)
        if is_fenced_by_epochs or isinstance(command, ReportReplicas | AllocateProducerIds):
            # A broker does not repeat a report that was taken: who was replaced must not say "nothing to change".
            return await self._submit(command, confirmed=not is_fenced_by_epochs)
        if self._waiting >= ADMIN_WAITING_MAX:
            raise ThrottlingQuotaExceededError("the controller has too much to do; try again later")
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._submit(command, confirmed=True)
        finally:
            self._slots.release()

    def suspect(self, broker_id: int) -> None:
        """Somebody has reason to think that this broker is gone: it is looked for, as often as that is allowed.

        Nothing happens where this node is not the active controller, or does not know the broker.
        """
        broker = None if self._core is None else self._core.image.brokers.get(broker_id)
        if self._core is not None and broker is not None:
            report = BrokerUnreachable(broker_id, broker.epoch)
            self._accept(self._core.handle(report, self._clock.monotonic_ms()))

    async def change_voters(self, voters: VoterSet) -> None:
        """Have the quorum change its voters, whose entry takes a place among ours; returns once it is committed.

        Raises `NotControllerError`. A change that the quorum does not allow has the controller begin anew, so whoever
        asks should know the rules (`broker.quorum.membership`).
        """
        core = self._core
        if core is None:
            raise NotControllerError("this node is not the active controller")
        base_offset = core.image.end_offset
        core.skip()
        committed = self._send(lambda epoch: self._log.change_voters(voters, base_offset, epoch), base_offset + 1, ())
        if not await asyncio.shield(committed):
            raise NotControllerError("this node lost the quorum's leadership before the new voters were committed")

    async def _submit(self, command: Command[R], *, confirmed: bool = False) -> R:
        """The answer. `confirmed`: also one without records is given only once the quorum says that this node leads."""
        core, epoch = self._core, self._epoch
        if core is None:
            raise NotControllerError("this node is not the active controller")
        try:
            result = core.handle(command, self._clock.monotonic_ms())
        except KraftpyError:
            await self._wait_committed()
            if confirmed:
                await self._log.committed_image(epoch)
            raise
        self._accept(result)
        await self._wait_committed()
        if confirmed and not result.records:
            await self._log.committed_image(epoch)
        return result.response

    async def _wait_committed(self) -> None:
        """Wait for all that is proposed by now. Raises `NotControllerError` where it is lost."""
        last = self._last
        if last is not None and not await asyncio.shield(last):
            raise NotControllerError("this node lost the quorum's leadership before the change was committed")

    def _accept(self, result: Result[Any]) -> None:
        """Propose and replay."""
        core = self._core
        assert core is not None
        for probe in result.probes:
            self._spawn(self._look(probe))
        entries = result.entries(self._config.records_per_entry_max)
        for position, records in enumerate(entries):
            facts = result.facts if position == len(entries) - 1 else ()
            self._propose(core, records, facts)
        if not entries:
            self._tell(result.facts)

    def _propose(self, core: ControllerCore, records: Sequence[MetadataRecord], facts: tuple[Fact, ...]) -> None:
        base_offset = core.image.end_offset
        core.replay(records, base_offset)
        end_offset = base_offset + len(records)
        self._send(lambda epoch: self._log.propose(records, base_offset, epoch), end_offset, facts)

    def _send(
        self, propose: Callable[[int], Awaitable[int]], end_offset: int, facts: tuple[Fact, ...]
    ) -> "asyncio.Future[bool]":
        """Take the next place in the log; whether it was committed. `propose` is given the epoch."""
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[bool] = loop.create_future()
        sent: asyncio.Future[None] = loop.create_future()
        self._parked[committed] = None
        self._spawn(self._commit(self._life, propose, end_offset, facts, committed, self._last_sent, sent))
        self._last, self._last_sent = committed, sent
        return committed

    async def _commit(
        self,
        life: int,
        propose: Callable[[int], Awaitable[int]],
        end_offset: int,
        facts: tuple[Fact, ...],
        committed: "asyncio.Future[bool]",
        sent_before: "asyncio.Future[None] | None",
        sent: "asyncio.Future[None]",
    ) -> None:
        try:
            if sent_before is not None:
                await sent_before
            if life != self._life:
                return
            _settle(sent, None)
            stands_up_to = await propose(self._epoch)
            assert stands_up_to == end_offset, "the log put an entry where it was not to stand"
            self._tell(facts)
            _settle(committed, True)
        except NotControllerError as error:
            if life == self._life:
                logger.info("a change of the metadata was not committed: %s", error)
        finally:
            _settle(sent, None)
            _settle(committed, False)
            del self._parked[committed]
            if life == self._life and not committed.result():
                self._begin_anew()

    def _begin_anew(self) -> None:
        self._drop()
        self._spawn(self._recover(self._life, self._epoch))

    async def _recover(self, life: int, epoch: int) -> None:
        """Take over again if this node still leads: the old core has replayed what was not committed."""
        while life == self._life:
            await asyncio.sleep(RECOVERY_PAUSE_MS / 1_000)
            if self._parked:
                continue  # proposals whose fate is open
            try:
                image = await self._log.committed_image(epoch)
            except NotControllerError:
                continue  # the quorum has too much to do just now; or this node leads no more, and `resign` comes
            if life == self._life:
                self.activate(epoch, image)

    # --- time and probes ---

    async def _tick(self, core: ControllerCore) -> None:
        longest_ms = self._config.broker_session_timeout_ms  # no new deadline can be nearer
        while self._core is core:
            now_ms = self._clock.monotonic_ms()
            deadline_ms = core.next_deadline_ms()
            if deadline_ms is not None and deadline_ms <= now_ms:
                self._accept(core.tick(now_ms))
                continue
            wait_ms = longest_ms if deadline_ms is None else min(longest_ms, deadline_ms - now_ms)
            await asyncio.sleep(wait_ms / 1_000)
            await asyncio.sleep(0)  # heartbeats that came in while the loop was held up go first

    async def _look(self, probe: Probe) -> None:
        probed_at_ms = self._clock.monotonic_ms()
        if await self._probe(probe.broker_id, probe.broker_epoch):
            return
        try:
            await self.submit(BrokerUnreachable(probe.broker_id, probe.broker_epoch, True, probed_at_ms))
        except NotControllerError:
            return  # the next controller looks for itself

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Task[None]") -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None:
            logger.error("the controller failed and begins anew", exc_info=task.exception())
            if self._leads:
                self._begin_anew()

    # --- facts ---

    def _tell(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            match fact:
                case UncleanElection():
                    self._unclean_elections += 1
                    logger.warning("unclean election, acknowledged records may be lost: %s", fact)
                case BrokerFenced():
                    self._brokers_fenced += 1
                    logger.warning("%s", fact)
                case ReplicasReported():
                    logger.warning("%s", fact)
                case _:
                    logger.info("%s", fact)


T = TypeVar("T")


def _settle(future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():
        future.set_result(value)
