"""Registering: what a broker waits out, and what ends it."""

import asyncio
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

import pytest

from broker.controller.commands import HeartbeatAnswer
from broker.lifecycle import Lifecycle
from broker.metadata.records import RegisterBrokerRecord
from broker.replication.availability import Availability
from broker.rpc.active_controller import ActiveController
from kraftpy.errors import DuplicateBrokerRegistrationError, InconsistentClusterIdError, NotControllerError

REGISTRATION_TIMEOUT_MS = 60_000
REGISTRATION = RegisterBrokerRecord(1, UUID(int=1), UUID(int=2), ())


class Controller:
    """Answers by a script; every question takes a second of the clock's time."""

    def __init__(self, *answers: Exception | int) -> None:
        self.now_ms = 0
        self.broker_epoch = -1
        self.asked = 0
        self._answers = iter(answers)

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    async def register(self, registration: RegisterBrokerRecord, previous_broker_epoch: int) -> int:
        self.now_ms += 1_000
        self.asked += 1
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def register(controller: Controller, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("broker.lifecycle.REGISTER_PAUSE_MS", 0)
    failed: Callable[[], Any] = tuple
    active = cast(ActiveController, controller)
    lifecycle = Lifecycle(active, controller, 500, 3_000, REGISTRATION_TIMEOUT_MS, failed, Availability())
    return asyncio.run(lifecycle.register(REGISTRATION))


def test_a_controller_is_waited_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Controller(*[NotControllerError("nobody leads")] * 100, 7)
    assert register(controller, monkeypatch) == 7
    assert controller.broker_epoch == 7


def test_the_last_life_of_this_broker_is_waited_out_once_there_is_a_controller(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody, duplicate = NotControllerError("nobody leads"), DuplicateBrokerRegistrationError("broker 1 is live")
    assert register(Controller(*[nobody] * 30, *[duplicate] * 59, 8), monkeypatch) == 8


def test_another_process_that_stays_alive_ends_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Controller(*[DuplicateBrokerRegistrationError("broker 1 is live")] * 100)
    with pytest.raises(DuplicateBrokerRegistrationError):
        register(controller, monkeypatch)
    assert controller.asked == 1 + REGISTRATION_TIMEOUT_MS // 1_000


def test_what_will_not_change_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Controller(InconsistentClusterIdError("another cluster"), 1)
    with pytest.raises(InconsistentClusterIdError):
        register(controller, monkeypatch)


def test_a_session_without_an_answer_is_noticed_and_ends_with_the_next() -> None:
    """It counts from when the last report left: the controller's own deadline is no earlier."""
    controller = Controller(7)
    refused = True

    async def heartbeat(**_: object) -> HeartbeatAnswer:
        controller.now_ms += 1_000
        if refused:
            raise NotControllerError("nobody leads")
        return HeartbeatAnswer(is_fenced=False, should_shut_down=False)

    async def story() -> None:
        nonlocal refused
        controller.heartbeat = heartbeat  # type: ignore[attr-defined]
        failed: Callable[[], Any] = tuple
        active = cast(ActiveController, controller)
        lifecycle = Lifecycle(active, controller, 500, 3_000, REGISTRATION_TIMEOUT_MS, failed, Availability())
        assert not lifecycle.is_unheard, "it has not begun"
        await lifecycle.register(REGISTRATION)
        running = asyncio.create_task(lifecycle.run())
        seen = {}
        while controller.now_ms < 6_000:
            seen[controller.now_ms] = lifecycle.is_unheard
            await asyncio.sleep(0.001)
        assert seen == {1_000: False, 2_000: False, 3_000: False, 4_000: True, 5_000: True}
        refused = False
        await asyncio.sleep(0.3)  # several reports
        assert not lifecycle.is_unheard
        running.cancel()

    asyncio.run(story())
