"""Runs a member: its requests in the background, its time, and what it needs to know of topics. A shell.

One task asks the core what to send whenever something has happened or is due; every answer is told to the core, and
poll() is woken, because only poll() lets partitions change hands.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence

from kraftpy.client.config import ConsumerConfig
from kraftpy.client.group.classic_member import ClassicMember
from kraftpy.client.group.consumer_member import ConsumerMember
from kraftpy.client.group.coordinator import Coordinator
from kraftpy.client.group.group_calls import GroupCalls
from kraftpy.client.group.handover import Handover
from kraftpy.client.group.member import Identity, Interest, Request
from kraftpy.client.metadata import Metadata
from kraftpy.client.wire import NEVER_MS, ClientPorts, stepping, watched
from kraftpy.errors import FencedInstanceIdError, KraftpyError
from kraftpy.pb import groups_pb2

LEAVE_MS = 2_000  # how long a farewell may take; nobody waits for the coordinator longer than that

_log = logging.getLogger(__name__)


class Membership:
    """One consumer's membership of its group."""

    def __init__(
        self,
        member: ClassicMember | ConsumerMember,
        config: ConsumerConfig,
        ports: ClientPorts,
        metadata: Metadata,
        coordinator: Coordinator,
        changed: Callable[[], None],
    ) -> None:
        """`changed`: poll() should look again."""
        self._member = member
        self._ports = ports
        self._metadata = metadata
        self._calls = GroupCalls(config, coordinator, metadata)
        self._changed = changed
        self._pattern: re.Pattern[str] | None = None
        self._regex: str | None = None
        self._topics: tuple[str, ...] = ()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._asking: list[asyncio.Task[None]] = []
        self._fatal: KraftpyError | None = None
        self._fenced: FencedInstanceIdError | None = None  # until the user subscribes anew
        self._last_identity: Identity | None = None  # of the last generation that it was a member in
        self.wants_poll = False  # as of the last step; read from the user's thread, too
        metadata.on_update(self._woken.set)

    # --- the user ----------------------------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        return self._member.identity

    @property
    def last_identity(self) -> Identity:
        """Who it is, or was before it lost its place: what it read then goes into a transaction by that name (KIP-447),
        and is refused. Nameless it would pass for a client that knows nothing of members."""
        identity = self._member.identity
        return identity if identity.generation >= 0 else self._last_identity or identity

    @property
    def is_active(self) -> bool:
        """Whether anything is subscribed to."""
        return bool(self._topics) or self._pattern is not None or self._regex is not None

    @property
    def is_stable(self) -> bool:
        """Whether it is a member and nothing is going on."""
        return self._member.is_stable

    @property
    def subscription(self) -> tuple[str, ...]:
        return self._topics

    def subscribe(self, topics: Sequence[str], pattern: re.Pattern[str] | None) -> None:
        """To these topics, or to all whose names match the pattern."""
        self._fenced = None
        self._pattern = None
        self._regex = None
        self._topics = tuple(dict.fromkeys(topics))
        if pattern is not None and isinstance(self._member, ConsumerMember):
            self._regex = pattern.pattern
        else:
            self._pattern = pattern
        self._metadata.watch_all(pattern is not None)
        self._metadata.pin(self._topics)
        self._metadata.invalidate()
        if self._task is None:
            work = stepping(self._step, self._woken, self._ports.clock)
            self._task = watched(asyncio.get_running_loop().create_task(work), self._crashed)
        self._member.subscribe(self._interest(), self._now_ms())
        self._woken.set()

    def polled(self) -> Handover | None:
        """The user polls; what must be handed over first. Raises what ended the membership, once that is done.

        The next poll joins again, except where another has the instance id now: two would fence each other for ever.
        """
        ended = self._fatal or self._fenced
        if ended is not None:
            raise ended.with_traceback(None)  # it would grow with each poll
        was_stable = self._member.is_stable
        self._member.polled(self._now_ms())
        if not was_stable:
            self._woken.set()
        handover = self._member.handover()
        error = self._member.take_error() if handover is None else None
        if isinstance(error, FencedInstanceIdError):
            self._fenced = error
        if error is not None:
            raise error
        return handover

    def touched(self) -> None:
        self._member.touched(self._now_ms())

    def handover(self) -> Handover | None:
        """What `polled` gave, until it is handed over or the group is left."""
        return self._member.handover()

    def handed_over(self) -> None:
        self._member.handed_over(self._now_ms())
        self._woken.set()

    async def leave(self, reason: str) -> None:
        """Be no member any more, and say so; what was owned must have been handed over."""
        farewell = self._member.leave(reason)
        self._topics, self._pattern, self._regex = (), None, None
        self._metadata.watch_all(False)
        self._member.owned = ()
        self._last_identity = None
        self._fenced = None
        if farewell is None:
            return
        try:
            async with asyncio.timeout(LEAVE_MS / 1_000):
                await self._calls.ask(farewell)
        except (KraftpyError, TimeoutError) as error:
            _log.debug("the coordinator has not heard that this member leaves: %s", error)

    async def close(self) -> None:
        tasks = [task for task in (self._task, *self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._task = None

    # --- the task ----------------------------------------------------------------------------------------------------

    def _crashed(self, error: BaseException) -> None:
        self._fatal = KraftpyError(f"the membership task failed, which is a bug: {error!r}")
        self._changed()

    def _step(self) -> int:
        now_ms = self._now_ms()
        self._tell_metadata(now_ms)
        for request in self._member.requests(now_ms):
            task = watched(asyncio.get_running_loop().create_task(self._ask(request)), self._crashed)
            self._asking = [*[old for old in self._asking if not old.done()], task]
        self.wants_poll = self.is_active and not self._member.is_stable
        for warning in self._member.take_warnings():
            _log.warning("%s", warning)
            self._changed()
        return min(self._member.deadline_ms(), NEVER_MS)

    async def _ask(self, request: Request) -> None:
        member = self._member
        try:
            answer = await self._calls.ask(request)
        except KraftpyError as error:
            _log.debug("%s: %s", type(request).__name__, error)
            given = self._calls.take_member_id()
            if given and isinstance(member, ClassicMember):
                member.member_id_given(given)
            member.failed(request, error, self._now_ms())
        else:
            if answer is not None:
                member.answered(request, answer, self._now_ms())
            if member.identity.generation >= 0:
                self._last_identity = member.identity
        self._woken.set()
        self._changed()

    # --- topics ------------------------------------------------------------------------------------------------------

    def _interest(self) -> Interest:
        if self._pattern is None:
            return Interest(self._topics, self._regex)
        pattern = self._pattern
        names = tuple(name for name in self._metadata.public_topics if pattern.search(name))
        self._topics = names
        return Interest(names)

    def _tell_metadata(self, now_ms: int) -> None:
        if not self.is_active:
            return  # what is pinned then is not the group's: partitions that are assigned by hand
        if self._pattern is not None:
            before = self._topics
            interest = self._interest()
            if interest.topics != before:
                self._member.subscribe(interest, now_ms)
        wanted = self._member.topics_wanted()
        self._metadata.pin(list(dict.fromkeys([*self._topics, *wanted])))
        view = self._metadata.view
        if any(name not in view.topics and name not in view.errors for name in wanted):
            self._metadata.invalidate()
            return
        names = view.topics if isinstance(self._member, ConsumerMember) else wanted
        known = {
            name: (
                view.topics[name].topic_id,
                tuple(
                    frozenset(view.racks[node] for node in partition.replicas if node in view.racks)
                    for partition in view.topics[name].partitions
                ),
            )
            for name in names
            if name in view.topics
        }
        self._member.metadata(known, now_ms)
        if isinstance(self._member, ConsumerMember) and self._member.lacks_topics:
            self._metadata.invalidate()

    def _now_ms(self) -> int:
        return self._ports.clock.monotonic_ms()


def group_coordinator(config: ConsumerConfig, ports: ClientPorts, metadata: Metadata) -> Coordinator:
    assert config.group_id is not None
    return Coordinator(config, ports, metadata, groups_pb2.GROUP, config.group_id)
