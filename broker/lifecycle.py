"""The life of this broker as the controller sees it (KIP-631): it registers, reports, takes part, and takes its leave.

    registering → fenced, catching up → in service → leaving → gone

Invariants: a registration is for this process only (`incarnation_id`), and the epoch that it was given is sent with
every report. A controller that no longer knows this life ends it: the node fails, rather than serve beside its own
successor. While it is in service, a report leaves every `broker_heartbeat_interval_ms`, at once after a new controller
was elected. Replicas that cannot be served are told of first.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from broker.metadata.records import RegisterBrokerRecord
from broker.replication.availability import Availability
from broker.rpc.active_controller import ActiveController
from kraftpy.errors import (
    BrokerIdNotRegisteredError,
    DuplicateBrokerRegistrationError,
    KraftpyError,
    StaleBrokerEpochError,
)
from kraftpy.runtime.alarm import is_set_within
from kraftpy.runtime.ports import Clock, TransportError

logger = logging.getLogger(__name__)

REGISTER_PAUSE_MS = 5  # doubles, as a controller that was just elected is there a moment later
REGISTER_PAUSE_MS_MAX = 50
REPORT_PAUSE_MS = 50  # before a report that failed is sent again
REMIND_MS = 10_000  # between two lines about the same trouble
LEAVE_SILENCE_MS = 1_500  # without a controller: the others have probably been stopped too
STARTING_INTERVAL_MS = 20  # while fenced: catching up takes a moment, and somebody waits for the start


class Lifecycle:
    """One process's life as a broker: `register`, `run` as a task, `wait_in_service`, then `leave` or nothing."""

    def __init__(
        self,
        controller: ActiveController,
        clock: Clock,
        heartbeat_interval_ms: int,
        session_timeout_ms: int,
        registration_timeout_ms: int,
        failed_directory_ids: Callable[[], Sequence[UUID]],
        availability: Availability,
    ) -> None:
        self._controller = controller
        self._clock = clock
        self._interval_ms = heartbeat_interval_ms
        self._session_timeout_ms = session_timeout_ms
        self._heard_ms: int | None = None  # when the last report left that the controller has answered
        self._registration_timeout_ms = registration_timeout_ms
        self._failed_directory_ids = failed_directory_ids
        self._availability = availability
        availability.on_news = self.report_soon
        self._in_service = asyncio.Event()
        self._is_leaving = False
        self._said_goodbye = asyncio.Event()
        self._moved_everything = False
        self._wakeup = asyncio.Event()

    async def register(self, registration: RegisterBrokerRecord, previous_broker_epoch: int = -1) -> int:
        """The broker epoch; asks until there is a controller. `previous_broker_epoch`: that a clean stop ended, or -1.

        Raises what the controller refuses for good. A registration of the same id that still counts as alive is waited
        for, up to `registration_timeout_ms` of a controller that answers: it may be this node's own last life.
        """
        started_ms = told_at_ms = self._clock.monotonic_ms()
        pause_ms = REGISTER_PAUSE_MS
        duplicate_since_ms: int | None = None  # the wait for a controller may have taken longer than any session
        while True:
            try:
                epoch = await self._controller.register(registration, previous_broker_epoch)
            except (KraftpyError, TransportError) as error:
                now_ms = self._clock.monotonic_ms()
                if not isinstance(error, DuplicateBrokerRegistrationError):
                    duplicate_since_ms = None
                elif duplicate_since_ms is None:
                    duplicate_since_ms = now_ms
                    limit_s = self._registration_timeout_ms // 1_000
                    logger.warning("waiting for up to %d s until the id of this node is free: %s", limit_s, error)
                if not self._is_passing(error, 0 if duplicate_since_ms is None else now_ms - duplicate_since_ms):
                    raise
                if now_ms - told_at_ms >= REMIND_MS:
                    told_at_ms = now_ms
                    logger.warning("not registered yet after %d s: %s", (now_ms - started_ms) // 1_000, error)
                pause_ms = await self._pause_before_registering(pause_ms)
                continue
            self._controller.broker_epoch = epoch
            self._heard_ms = self._clock.monotonic_ms()
            logger.info("registered as broker %d with epoch %d", registration.broker_id, epoch)
            return epoch

    async def _pause_before_registering(self, pause_ms: int) -> int:
        """Less where a controller is elected meanwhile; the next pause."""
        self._wakeup.clear()
        is_news = await is_set_within(self._wakeup, pause_ms / 1_000)
        return REGISTER_PAUSE_MS if is_news else min(2 * pause_ms, REGISTER_PAUSE_MS_MAX)

    def _is_passing(self, error: Exception, duplicate_ms: int) -> bool:
        if isinstance(error, DuplicateBrokerRegistrationError):
            return duplicate_ms < self._registration_timeout_ms
        if isinstance(error, StaleBrokerEpochError):
            return True  # the metadata here lags behind the last life's registration
        return isinstance(error, TransportError) or (isinstance(error, KraftpyError) and error.retriable)

    async def run(self) -> None:
        """Report until cancelled. Raises `StaleBrokerEpochError`, `BrokerIdNotRegisteredError`: this life is over."""
        failing_since_ms: int | None = None
        while True:
            self._wakeup.clear()
            try:
                await self._report()
                failing_since_ms = None
            except (StaleBrokerEpochError, BrokerIdNotRegisteredError):
                raise
            except (KraftpyError, TransportError) as error:
                now_ms = self._clock.monotonic_ms()
                if failing_since_ms is None:
                    failing_since_ms = now_ms
                elif self._is_leaving and now_ms - failing_since_ms >= LEAVE_SILENCE_MS:
                    self._goodbye(False)
                elif now_ms - failing_since_ms >= REMIND_MS:
                    failing_since_ms = now_ms
                    logger.warning("the controller does not hear from this broker: %s", error)
                await asyncio.sleep(REPORT_PAUSE_MS / 1_000)
                continue
            await self._pause()

    async def wait_in_service(self) -> None:
        """Return once the controller lets this broker take part."""
        await self._in_service.wait()

    @property
    def is_unheard(self) -> bool:
        """Whether no controller has answered for a session: if there is one, it has fenced this broker."""
        heard_ms = self._heard_ms
        return heard_ms is not None and self._clock.monotonic_ms() - heard_ms >= self._session_timeout_ms

    def report_soon(self) -> None:
        """Report at once: a new controller counts from now who is silent, or replicas went offline."""
        self._wakeup.set()

    async def leave(self, timeout_ms: int) -> bool:
        """Ask to go, and wait until every leadership has moved.

        False: the time ran out first, or there was no controller to ask for `LEAVE_SILENCE_MS`.
        """
        self._is_leaving = True
        self._wakeup.set()
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._said_goodbye.wait()
        except TimeoutError:
            return False
        return self._moved_everything

    def _goodbye(self, moved_everything: bool) -> None:
        self._moved_everything = moved_everything
        self._said_goodbye.set()

    async def _report(self) -> None:
        # First what is not there, without a wait between the last look and the heartbeat: it may unfence this broker,
        # and what is elected here then must be there.
        while news := self._availability.pending():
            await self._controller.report_replicas(news)
            self._availability.told(news)
        left_ms = self._clock.monotonic_ms()
        answer = await self._controller.heartbeat(
            want_shut_down=self._is_leaving, failed_directory_ids=self._failed_directory_ids()
        )
        self._heard_ms = left_ms
        if answer.should_shut_down and self._is_leaving:
            self._goodbye(True)
        elif answer.is_fenced == self._in_service.is_set():
            if answer.is_fenced:
                logger.warning("fenced by the controller: it did not hear from this broker for too long")
                self._in_service.clear()
            else:
                logger.info("in service")
                self._in_service.set()

    async def _pause(self) -> None:
        is_settled = self._in_service.is_set() and not self._is_leaving
        interval_ms = self._interval_ms if is_settled else STARTING_INTERVAL_MS
        await is_set_within(self._wakeup, interval_ms / 1_000)
