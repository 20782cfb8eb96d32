"""Keeps a `ClusterView` up to date: asks any node, skips dead ones, renews when told or when it gets old.

One task asks, one question at a time; everyone who wants news waits for the same answer. Nodes are asked in turn,
beginning at a random one: the known brokers first, then the bootstrap addresses, so that a client survives a cluster
whose nodes have all moved (KIP-899). A node that is silent costs `FIRST_ATTEMPT_MS`, and longer only if all are slow.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from kraftpy.client.cluster_view import ClusterView, Leader, PartitionView, TopicView
from kraftpy.client.config import ClientConfig
from kraftpy.client.wire import CLIENT, ClientPorts, backoff_ms, watched
from kraftpy.error_codes import NO_ERROR, code_of, error_for
from kraftpy.errors import (
    ClosedError,
    KraftpyError,
    NoBrokersAvailableError,
    RetriableError,
    UnknownTopicOrPartitionError,
)
from kraftpy.pb import client_pb2
from kraftpy.runtime.alarm import is_set_within
from kraftpy.runtime.ports import Address, TransportError
from kraftpy.topic_names import check_topic_name

AVOID_MS = 5_000  # how long a node that did not answer is asked last
FIRST_ATTEMPT_MS = 1_000  # silence of one node before the next is asked; doubles while nobody answers
EAGER_ATTEMPTS = (
    20  # this many renewals in a row come at retry_backoff_ms, before the pause grows: an election's length
)
UNHEARD_AGAIN_MS = 30_000  # from one warning that nobody answers to the next
TOPIC_IDLE_MS = 300_000  # a topic that nobody used for this long is forgotten (Kafka's metadata.max.idle.ms)

_log = logging.getLogger(__name__)


class Metadata:
    """One client's picture of the cluster and the task that renews it.

    Names that users give are checked before they come in: one that no request can hold would stop every renewal.
    """

    def __init__(self, config: ClientConfig, ports: ClientPorts, *, auto_create: bool) -> None:
        self.view = ClusterView()
        self.last_error: Exception | None = None
        self._config = config
        self._ports = ports
        self._auto_create = auto_create
        self._bootstrap = config.addresses
        self._topics: dict[str, int] = {}  # name: when it was last used
        self._pinned: dict[str, None] = {}  # names that are never forgotten
        self._missed: dict[str, None] = {}  # … that were said to be missing
        self._asks_for_all = False
        self.public_topics: tuple[str, ...] = ()  # all that there are but internal ones, while `watch_all`
        self._listeners: list[Callable[[], None]] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()
        self._urgent = asyncio.Event()  # ends a pause early
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._avoided: dict[Address, int] = {}  # nodes that did not answer lately: until when they are asked last
        self._eager = 0  # renewals in a row that somebody asked for
        self._unheard_since_ms: int | None = None  # since then nobody has answered
        self._warn_at_ms = 0  # that nobody answers, again
        self._closed = False

    # --- what others use

    def on_update(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the view may have changed."""
        self._listeners.append(listener)

    def use(self, topic: str) -> None:
        """Note that `topic` is in use, so that it is not forgotten."""
        self._topics[topic] = self._ports.clock.monotonic_ms()

    def touch(self, topic: str, now_ms: int) -> None:
        """`use` for a topic that is known already; may be called from any thread."""
        if topic in self._topics:
            self._topics[topic] = now_ms

    def pin(self, topics: Sequence[str]) -> None:
        """Watch these topics until further notice, and no others of an earlier call.

        One that does not exist is waited for: said once, and asked for again soon rather than when the view gets old.
        """
        self._pinned = dict.fromkeys(topics)

    def watch_all(self, watch: bool) -> None:
        """Whether to ask for all topics that there are."""
        if watch and not self._asks_for_all:
            self.public_topics = ()  # those of an earlier watch are old
        self._asks_for_all = watch

    def invalidate(self) -> None:
        """Something was wrong with the view: renew it soon. Cheap, and may be called often."""
        self._wanted.set()
        self._start()

    def hint(self, topic: str, partition: int, leader: Leader) -> None:
        """A broker has told who leads now (KIP-951)."""
        changed = self.view.with_leader(topic, partition, leader)
        if changed is not self.view:
            self.view = changed
            self._tell()

    def leader(self, topic: str, partition: int) -> Leader | None:
        return self.view.leader(topic, partition)

    def topic_id(self, name: str) -> bytes:
        """Of the topic that has this name now; empty while that is not known."""
        known = self.view.topics.get(name)
        return b"" if known is None else known.topic_id

    async def topic(self, name: str, timeout_ms: float, patience_ms: float) -> TopicView:
        """The view of a topic, waiting until it is known.

        Raises after `patience_ms` of answers that there is no such topic, or after `timeout_ms` without an answer. What
        an earlier call was told is not believed while there is time to ask: the topic may have been created since.
        Raises `InvalidTopicError` for what no topic is called.
        """
        check_topic_name(name)
        clock = self._ports.clock
        started_ms = clock.monotonic_ms()
        missing_since_ms: int | None = None
        has_asked = False
        while True:
            self.use(name)
            found = self.view.topics.get(name)
            if found is not None and found.partitions:
                return found
            now_ms = clock.monotonic_ms()
            left_ms = timeout_ms - (now_ms - started_ms)
            code = self.view.errors.get(name, NO_ERROR)
            if left_ms <= 0 and not has_asked:
                self._ask_soon()  # a later call may find it, though this one has no time to wait
            if code != NO_ERROR and (has_asked or (left_ms <= 0 and self.last_error is None)):
                error = error_for(code, f"{name}: {error_for(code).message}")
                missing_since_ms = now_ms if missing_since_ms is None else missing_since_ms
                patience_left_ms = min(left_ms, missing_since_ms + patience_ms - now_ms)
                if not isinstance(error, RetriableError) or patience_left_ms <= 0:
                    raise error
            elif left_ms <= 0:
                raise self._nobody(name)
            has_asked = await self.updated(left_ms) or has_asked

    async def updated(self, timeout_ms: float) -> bool:
        """Renew the view and wait for it; False where that took longer than `timeout_ms`."""
        if self._closed:
            raise ClosedError("the client is closed")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._ask_soon()
        try:
            async with asyncio.timeout(max(timeout_ms, 0) / 1_000):
                await waiter
        except TimeoutError:
            return False
        return True

    def _ask_soon(self) -> None:
        self.invalidate()
        if self.last_error is None and self._has_new_topics():
            self._urgent.set()

    async def any_node(self, timeout_ms: float) -> Address:
        """The address of a node that answered lately, else a bootstrap address."""
        if not self.view.brokers:
            await self.updated(timeout_ms)
        return self.next_address()

    def next_address(self) -> Address:
        """Another node at each call."""
        return self._in_turn()[0]

    async def close(self) -> None:
        """End the task; waiters get `ClosedError`."""
        await asyncio.gather(*self.end(), return_exceptions=True)

    def end(self) -> "list[asyncio.Task[None]]":
        """As `close`, at once; the task that is ending."""
        self._closed = True
        tasks = [] if self._task is None else [self._task]
        self._task = None
        for task in tasks:
            task.cancel()
        self._fail_waiters(ClosedError("the client is closed"))
        return tasks

    # --- the task

    def _start(self) -> None:
        if self._task is None and not self._closed:
            self._turn = self._ports.random.randrange(1_000)
            self._task = watched(asyncio.get_running_loop().create_task(self._run()), self._crashed)

    def _crashed(self, error: BaseException) -> None:
        """A bug: everybody who waits hears of it, and the next question starts the task anew."""
        self._task = None
        self._fail_waiters(KraftpyError(f"the metadata task failed: {error!r}"))

    def _fail_waiters(self, error: KraftpyError) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    async def _run(self) -> None:
        failures = 0
        while True:
            asked_for = await self._until_wanted()
            self._wanted.clear()
            failures = 0 if await self._renew(failures) else failures + 1
            self._eager = self._eager + 1 if asked_for else 0
            slow = max(failures, self._eager - EAGER_ATTEMPTS, 1)
            longest_ms = self._config.retry_backoff_max_ms
            pause_ms = self._ports.jittered(backoff_ms(slow, self._config.retry_backoff_ms, longest_ms))
            if failures:
                self._wanted.set()
            await self._pause(pause_ms)

    async def _pause(self, pause_ms: float) -> None:
        """Leave nodes alone for a while, unless there is something to ask that was never asked."""
        self._urgent.clear()
        if self._has_new_topics() and self.last_error is None:
            return
        await is_set_within(self._urgent, pause_ms / 1_000)

    async def _until_wanted(self) -> bool:
        if not self._wanted.is_set():
            self._eager = 0
        return await is_set_within(self._wanted, self._config.metadata_max_age_ms / 1_000)

    async def _renew(self, failures: int) -> bool:
        """Ask nodes until one answers; False where none did."""
        self._forget_idle_topics()
        names = [*self._pinned, *(name for name in self._topics if name not in self._pinned)]
        request = client_pb2.MetadataRequest(
            all_topics=self._asks_for_all,
            topics=names,
            allow_auto_topic_creation=self._auto_create,
            client_id=self._config.client_id,
        )
        attempt_ms = min(FIRST_ATTEMPT_MS << min(failures, 10), self._config.request_timeout_ms)
        for address in self._in_turn():
            try:
                answer = await self._ports.call(
                    address, CLIENT + "GetMetadata", request, client_pb2.MetadataResponse, attempt_ms
                )
            except TransportError as error:
                self.last_error = error
                self._avoided[address] = self._ports.clock.monotonic_ms() + AVOID_MS
                continue
            self._avoided.pop(address, None)
            if not answer.brokers:  # a node that has not joined yet knows nothing, the last one that stops of nobody
                when = "any more, or not yet again" if answer.cluster_id else "yet"
                self.last_error = NoBrokersAvailableError(f"{address} knows of no brokers {when}")
                continue
            if request.all_topics:
                self._mark_missing(answer, names)
            self._learn(answer)
            if not request.all_topics:
                self._wait_for_missing()
            return True
        self._say_unheard()
        return False

    def _say_unheard(self) -> None:
        """Who waits without a time limit, as a consumer does, would wait in silence."""
        now_ms = self._ports.clock.monotonic_ms()
        if self._unheard_since_ms is None:
            self._unheard_since_ms = self._warn_at_ms = now_ms
        if now_ms < self._warn_at_ms:
            return
        self._warn_at_ms = now_ms + UNHEARD_AGAIN_MS
        tried = ", ".join(str(address) for address in self._candidates())
        _log.warning(
            "nobody tells of the cluster, of %s (last: %s); still trying. Is a node running there, and has it joined? "
            "kraftpy doctor -b %s says what is in the way",
            tried,
            self.last_error,
            self._bootstrap[0],
        )

    def _say_heard(self) -> None:
        if self._unheard_since_ms is not None:
            unheard_ms = self._ports.clock.monotonic_ms() - self._unheard_since_ms
            self._unheard_since_ms = None
            _log.info("the cluster answers again, after %.1f s", unheard_ms / 1_000)

    def _mark_missing(self, answer: client_pb2.MetadataResponse, names: Sequence[str]) -> None:
        """What is known or wanted, and not in an answer that holds all topics, does not exist."""
        self.public_topics = tuple(sorted(topic.name for topic in answer.topics if not topic.internal))
        there = frozenset(topic.name for topic in answer.topics)
        for name in dict.fromkeys([*names, *self.view.topics]):
            if name not in there:
                answer.topics.add(name=name, error=code_of(UnknownTopicOrPartitionError))

    def _wait_for_missing(self) -> None:
        missing = [name for name in self._pinned if name in self.view.errors]
        for name in missing:
            if name not in self._missed:
                self._missed[name] = None
                _log.warning("topic %s: %s; waiting for it", name, error_for(self.view.errors[name]).name)
        if missing:
            self.invalidate()

    def _learn(self, answer: client_pb2.MetadataResponse) -> None:
        self.last_error = None
        self._say_heard()
        found = [view_of(topic) for topic in answer.topics if topic.error == NO_ERROR]
        errors = {topic.name: topic.error for topic in answer.topics if topic.error != NO_ERROR}
        brokers = {broker.id: Address(broker.host, broker.port) for broker in answer.brokers}
        racks = {broker.id: broker.rack for broker in answer.brokers if broker.HasField("rack")}
        self.view = self.view.merged(answer.cluster_id, answer.controller_id, brokers, found, errors, racks)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def _has_new_topics(self) -> bool:
        view = self.view
        return any(name not in view.topics and name not in view.errors for name in [*self._topics, *self._pinned])

    def _forget_idle_topics(self) -> None:
        oldest_ms = self._ports.clock.monotonic_ms() - TOPIC_IDLE_MS
        idle = [name for name, used_ms in self._topics.items() if used_ms < oldest_ms and name not in self._pinned]
        for name in idle:
            del self._topics[name]
        if idle:
            self.view = self.view.without(idle)

    def _in_turn(self) -> list[Address]:
        """All addresses, another one first each time, those that did not answer lately at the end."""
        addresses = self._candidates()
        self._turn = (self._turn + 1) % len(addresses)
        now_ms = self._ports.clock.monotonic_ms()
        self._avoided = {address: until for address, until in self._avoided.items() if until > now_ms}
        rotated = addresses[self._turn :] + addresses[: self._turn]
        return sorted(rotated, key=lambda address: address in self._avoided)

    def _candidates(self) -> list[Address]:
        return list(dict.fromkeys([*self.view.brokers.values(), *self._bootstrap]))

    def _nobody(self, topic: str) -> KraftpyError:
        tried = ", ".join(str(address) for address in self._candidates())
        if self.view.brokers or self.last_error is None:
            return NoBrokersAvailableError(f"nothing was heard about topic {topic} in time; asked {tried}")
        return NoBrokersAvailableError(f"none of {tried} answers (last: {self.last_error})")


def view_of(topic: client_pb2.TopicInfo) -> TopicView:
    """A topic as it stands in a metadata answer."""
    by_number = sorted(topic.partitions, key=lambda info: info.partition)
    partitions = tuple(
        PartitionView(
            info.partition,
            info.leader,
            info.leader_epoch,
            tuple(info.replicas),
            tuple(info.isr),
            tuple(info.offline_replicas),
            tuple(info.adding_replicas),
            tuple(info.removing_replicas),
            tuple(info.eligible_replicas),
            tuple(info.last_known_elr),
        )
        for info in by_number
    )
    return TopicView(topic.name, topic.topic_id, topic.internal, partitions)
