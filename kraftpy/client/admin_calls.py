"""What all calls of the asyncio admin rest on: any node is asked, and again where the reason to refuse passes."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, Self, TypeVar, Unpack

from kraftpy.client.any_node import AnyNode, Attempts, Deadline
from kraftpy.client.config import AdminConfig
from kraftpy.client.group_admin import GroupAdmin
from kraftpy.client.home_loop import HomeLoop
from kraftpy.client.keywords import AdminKeywords, with_bootstrap
from kraftpy.client.metadata import Metadata
from kraftpy.client.system import client_ports
from kraftpy.client.transaction_admin import TransactionAdmin
from kraftpy.client.wire import ADMIN, ClientPorts, Message
from kraftpy.error_codes import NO_ERROR, class_for, error_for
from kraftpy.errors import (
    CallTimeoutError,
    ClosedError,
    KraftpyError,
    LeaderNotAvailableError,
    NoBrokersAvailableError,
    NotControllerError,
    RequestTimedOutError,
)
from kraftpy.pb import client_pb2
from kraftpy.runtime.ports import Clock, Transport

M = TypeVar("M", bound=Message)

NOT_JOINED = "the node that answers has not joined the cluster yet"
_PASSING = (NotControllerError, RequestTimedOutError, LeaderNotAvailableError)
CALL_S = 30.0  # how long a call may take by default


class AdminCalls:
    """The base of `kraftpy.aio.Admin`: its settings, its connections, and how a call is made."""

    def __init__(
        self,
        bootstrap: Any = None,
        *,
        _config: AdminConfig | None = None,
        _transport: Transport | None = None,
        _clock: Clock | None = None,
        _random: Random | None = None,
        **settings: Unpack[AdminKeywords],
    ) -> None:
        self._config = _config or AdminConfig.from_keywords(with_bootstrap(bootstrap, settings))
        self._world = (_transport, _clock, _random)
        self._ports: ClientPorts | None = None
        self._metadata: Metadata | None = None
        self._owns_transport = False
        self._any_node: AnyNode | None = None
        self._groups: GroupAdmin | None = None
        self._transactions: TransactionAdmin | None = None
        self._closed = False
        self._home = HomeLoop()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """An admin from Kafka's dotted names: `{"bootstrap.servers": "a:9093"}`."""
        return cls(_config=AdminConfig.from_dotted(config))

    async def _ask(
        self,
        method: str,
        request: Message,
        answer_type: type[M],
        timeout: float,
        *,
        service: str = ADMIN,
        done_already: type[KraftpyError] | None = None,
    ) -> M:
        """One answered call that was not refused as a whole for a reason that passes. `done_already` is forgiven where
        an earlier attempt may have done the work."""
        deadline = Deadline(self._world_ports(), timeout)
        attempts = Attempts(self._nodes(), service + method, request, answer_type, deadline)
        return await self._answered(attempts, deadline, done_already)

    async def _ask_uncertain(
        self, method: str, request: Message, answer_type: type[M], timeout: float
    ) -> tuple[M, bool]:
        """As `_ask`, and whether an earlier attempt may have done the work."""
        deadline = Deadline(self._world_ports(), timeout)
        attempts = Attempts(self._nodes(), ADMIN + method, request, answer_type, deadline)
        answer = await self._answered(attempts, deadline)
        return answer, attempts.uncertain

    async def _answered(
        self, attempts: Attempts[M], deadline: Deadline, done_already: type[KraftpyError] | None = None
    ) -> M:
        told: KraftpyError | None = None  # why the last node that answered could not do it
        while True:
            try:
                answer = await attempts.next()
            except (NoBrokersAvailableError, CallTimeoutError):
                if told is None:
                    raise
                raise told from None
            try:
                error = told = passing_error(answer)
            except KraftpyError as failure:
                if attempts.uncertain and done_already is not None and isinstance(failure, done_already):
                    return answer
                raise
            if error is None:
                return answer
            await self._try_again(attempts, answer, error, deadline)

    async def _try_again(self, attempts: Attempts[Any], answer: Any, error: KraftpyError, deadline: "Deadline") -> None:
        """Pass the node over, and note whether it may have done what it refused or did not finish."""
        is_partly_done = any(part.error == NO_ERROR for part in getattr(answer, "topics", ()))
        attempts.uncertain = attempts.uncertain or is_partly_done or isinstance(error, RequestTimedOutError)
        self._nodes().pass_over()
        await self._pause(deadline, error)

    async def _pause(self, deadline: "Deadline", reason: KraftpyError | None) -> None:
        if deadline.left_ms <= 0:
            raise reason or CallTimeoutError("nobody leads the partitions")
        await asyncio.sleep(min(self._config.retry_backoff_ms, deadline.left_ms) / 1_000)

    def _world_ports(self) -> ClientPorts:
        if self._ports is None:
            if self._closed:
                raise ClosedError("the admin is closed")
            self._home.settle()
            self._ports, self._owns_transport = client_ports(*self._world)
        self._home.check()
        return self._ports

    def _nodes(self) -> AnyNode:
        if self._any_node is None:
            self._any_node = AnyNode(self._config, self._world_ports())
        return self._any_node

    def _known_metadata(self) -> Metadata:
        if self._metadata is None:
            self._metadata = Metadata(self._config, self._world_ports(), auto_create=False)
        return self._metadata


def passing_error(answer: Any) -> KraftpyError | None:
    """The answer's error where the whole of it only has to be asked for again; other errors of the whole are raised.

    A node that has forwarded a change to a controller which then died says REQUEST_TIMED_OUT: the next one may know.
    """
    if isinstance(answer, client_pb2.MetadataResponse) and not answer.brokers:
        if answer.cluster_id:
            return LeaderNotAvailableError("no broker is in service: the last ones are stopping, or not back yet")
        return LeaderNotAvailableError(NOT_JOINED)
    told = [answer] if hasattr(answer, "error") else []
    for parts in ("topics", "resources"):
        told += getattr(answer, parts, ())
    errors = [error_for(each.error, getattr(each, "error_message", "")) for each in told if each.error != NO_ERROR]
    passing = next((error for error in errors if isinstance(error, _PASSING)), None)
    if passing is None and hasattr(answer, "error"):
        raise_for(answer.error, answer.error_message, "")
    return passing


def raise_for(code: int, message: str, what: str) -> None:
    """Raise the error of an answer, if it has one; `what` it is about is told where the node has said nothing."""
    if code != NO_ERROR:
        raise error_for(code, message or (f"{what}: {error_for(code).message}" if what else ""))


def outcome(part: Any, forgiven: type[KraftpyError] | None = None) -> tuple[str, str]:
    """Kafka's name of the error of a part of an answer, and its message; both "" for none and for `forgiven`."""
    kind = None if part.error == NO_ERROR else class_for(part.error)
    return ("", "") if kind is None or kind is forgiven else (kind.name, part.error_message)
