"""Fetches ahead of the reader: one long-polled Fetch a broker, with all the partitions that it leads.

While the reader works through one answer the next is fetched, and no more: a broker is asked again when none of its
partitions has two answers waiting, and nothing is asked while `fetch_max_bytes` wait. Asking for some of a broker's
partitions only would park that request for fetch_max_wait_ms while the others run dry. What paused partitions keep
comes on top: two answers each at most.

A partition that begins, or goes on elsewhere, cuts short a parked fetch that does not ask for it, once between two
answers of a broker: a program that seeks between any two polls reads the others all the same. A broker that is silent
beyond its time makes the fetcher ask others who leads, as the `Sender` does.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from kraftpy.client.cluster_view import Leader
from kraftpy.client.committed import AbortedTransaction
from kraftpy.client.config import ConsumerConfig
from kraftpy.client.fetch_position import Answer, FetchPosition
from kraftpy.client.metadata import Metadata
from kraftpy.client.starting import LogTruncatedError, Starting
from kraftpy.client.values import ConsumerRecord, OffsetAndMetadata, TopicPartition
from kraftpy.client.wire import CLIENT, NEVER_MS, ClientPorts, as_kraftpy_error, backoff_ms, stepping, watched
from kraftpy.error_codes import NO_ERROR, error_for
from kraftpy.errors import (
    ClosedError,
    CorruptRecordError,
    KraftpyError,
    OffsetOutOfRangeError,
    StaleMetadataError,
)
from kraftpy.pb import client_pb2
from kraftpy.runtime.alarm import is_set_within
from kraftpy.runtime.ports import Address, TransportError

SILENCE_MS = 500  # beyond fetch_max_wait_ms, before others are asked who leads
DOUBT_MS = 60_000  # while no newer leader is found, an older one is not believed that an offset is out of range
DAMAGE_ATTEMPTS = 3  # a damaged batch is fetched so often before the user hears of it; another replica may lead by then
NO_GENERATION = -1  # of no position
ANSWERS_MAX = 2  # of one partition: the one being read and the next

_log = logging.getLogger(__name__)


class _Fetch:
    """A Fetch that is on its way."""

    __slots__ = ("address", "asked", "cut_for", "due_ms", "task")

    def __init__(
        self,
        address: Address,
        asked: dict[TopicPartition, tuple[FetchPosition, int, Leader]],
        due_ms: int,
        cut_for: dict[TopicPartition, None],
    ) -> None:
        self.address = address  # as it was when the node was chosen: until the task runs the metadata may lose it
        self.asked = asked  # position, its generation, the leader
        self.due_ms = due_ms  # when an answer is overdue
        self.cut_for = cut_for  # the partitions for which others were cut short since this node's last answer
        self.task: asyncio.Task[None] | None = None

    def leaves_out(self, position: FetchPosition) -> bool:
        """Whether it does not ask for this position, and no other was cut short for it before."""
        place = position.place
        is_asked = place in self.asked and self.asked[place][1] == position.generation
        return not is_asked and place not in self.cut_for


class Fetcher:
    """All fetching of one consumer."""

    def __init__(self, config: ConsumerConfig, ports: ClientPorts, metadata: Metadata) -> None:
        self.positions: dict[TopicPartition, FetchPosition] = {}
        self.taken: deque[ConsumerRecord] = deque()
        """Taken and not handed out yet. The user's thread may replace it, or drop its first; a position moves by itself
        only while it is empty, so that `give_back` always fits."""
        self._config = config
        self._ports = ports
        self._metadata = metadata
        self._answers: deque[Answer] = deque()
        self._fetches: dict[int, _Fetch] = {}  # by node
        self._woken = asyncio.Event()
        self._arrived = asyncio.Event()
        self._starting = Starting(config, ports, metadata, self._try_later, self._has_started)
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._has_to_move = False  # some position, once `taken` is empty
        self._may_cut = False  # something has changed that fetches under way may not ask for
        self._fatal: KraftpyError | None = None
        self._closed = False
        metadata.on_update(self.wake)

    def start(self) -> None:
        if self._task is None:
            work = stepping(self._step, self._woken, self._ports.clock)
            self._task = watched(asyncio.get_running_loop().create_task(work), self._crashed)

    def wake(self) -> None:
        self._woken.set()

    async def close(self) -> None:
        """End all tasks; whoever waits gets `ClosedError`."""
        self._closed = True
        self._arrived.set()
        tasks = [self._task, *[fetch.task for fetch in self._fetches.values()]]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._starting.close()
        self._answers.clear()
        self._fetches.clear()

    # --- assignment and position

    def assign(self, places: Iterable[TopicPartition], start_ms: Callable[[TopicPartition], int | None]) -> None:
        """Read exactly these partitions; those that stay keep their positions."""
        kept = {place: self.positions.get(place) for place in places}
        for place, position in self.positions.items():
            if place not in kept:
                position.generation += 1  # whatever is under way for it is void
        self.positions = {
            place: position or FetchPosition(place.topic, place.partition, start_ms(place))
            for place, position in kept.items()
        }
        self._look_anew()

    def changed(self) -> None:
        """Positions were moved, paused or resumed: look at everything again now."""
        self._look_anew()
        self._arrived.set()

    def nudge(self) -> None:
        """Let whoever waits look again: something other than records wants attention."""
        self._arrived.set()

    # --- records

    def take(self, count_max: int) -> list[ConsumerRecord]:
        """Up to `count_max` records that have arrived, in order within their partitions; `taken` has them as well."""
        assert not self.taken, "what was taken before is handed out or given back first"
        if self._has_to_move:
            self._start_positions()
            self.wake()
        taken: list[ConsumerRecord] = []
        held: list[Answer] = []
        while self._answers and len(taken) < count_max:
            answer = self._answers[0]
            if answer.is_stale:
                self._answers.popleft()
                self.wake()
                continue
            if answer.position.paused:
                held.append(self._answers.popleft())
                continue
            try:
                for record in answer.take(count_max - len(taken)):
                    taken.append(record)
            except KraftpyError as error:  # intact by its checksum, and yet no records
                position = answer.position
                position.seek(position.offset, position.leader_epoch)
                position.error = CorruptRecordError(f"{position.place} at offset {position.offset}: {error}")
                continue
            if answer.is_exhausted():
                self._answers.popleft()
                answer.position.buffered -= 1
                self.wake()
        self._answers.extendleft(reversed(held))
        self.taken.extend(taken)
        return taken

    def give_back(self) -> None:
        """Undo the taking of what nobody has seen."""
        if not self.taken:
            return
        records, self.taken = self.taken, deque()
        groups: dict[tuple[TopicPartition, int], list[ConsumerRecord]] = {}
        for record in records:
            place = TopicPartition(record.topic, record.partition)
            groups.setdefault((place, record.leader_epoch), []).append(record)
        for (place, _), group in reversed(groups.items()):
            position = self.positions.get(place)
            if position is not None:
                self._answers.appendleft(Answer.of_records(position, group, position.offset))
                position.buffered += 1
                position.step_back(group[0].offset)

    def standing(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """The next record to hand out, in every partition that has a position: the first that is taken, if any is."""
        stands = {
            place: OffsetAndMetadata(position.offset, leader_epoch=position.leader_epoch)
            for place, position in self.positions.items()
            if position.offset >= 0
        }
        for record in reversed(self.taken):
            place = TopicPartition(record.topic, record.partition)
            if place in stands:
                stands[place] = OffsetAndMetadata(record.offset, leader_epoch=record.leader_epoch)
        return stands

    def take_error(self) -> KraftpyError | None:
        """An error of a partition that has nothing else to give; it is raised once, and then tried anew."""
        if self._fatal is not None:
            return self._fatal
        for position in self.positions.values():
            if position.error is not None and position.buffered == 0 and not position.paused:
                error, position.error = position.error, None
                self.wake()
                return error
        return None

    async def wait(self, timeout_s: float) -> bool:
        """Wait until there may be something to take; False after `timeout_s`. Raises `ClosedError`."""
        if any(not answer.position.paused for answer in self._answers):
            return True
        return await self.wait_for_change(timeout_s)

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Wait until something has arrived: records, an error, a starting point; False after `timeout_s`.

        Raises `ClosedError` once the fetcher is closed: nothing will arrive.
        """
        self._check_open()
        self._arrived.clear()
        has_arrived = await is_set_within(self._arrived, timeout_s)
        self._check_open()
        return has_arrived

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the consumer is closed")

    # --- the task

    def _crashed(self, error: BaseException) -> None:
        """A bug: every poll says so from now on."""
        self._fatal = KraftpyError(f"the fetcher failed: {error!r}")
        self._arrived.set()

    def _step(self) -> int:
        """Ask for whatever may be asked for; the time at which to look again."""
        if self._fatal is not None:
            return NEVER_MS
        now_ms = self._ports.clock.monotonic_ms()
        self._start_positions()
        self._drop_stale()
        wake_ms = self._check_silence(now_ms)
        by_node: dict[int, dict[TopicPartition, tuple[FetchPosition, int, Leader]]] = {}
        full: dict[int, None] = {}
        may_cut, self._may_cut = self._may_cut, False
        for place, position in self._in_turn():
            if not position.is_fetchable:
                continue
            leader = self._metadata.leader(*place)
            if leader is None:
                self._metadata.invalidate()
                continue
            if position.is_backing_off(leader, now_ms):
                wake_ms = min(wake_ms, position.retry_at_ms)
                continue
            if position.buffered >= ANSWERS_MAX:
                full[leader.node_id] = None
            by_node.setdefault(leader.node_id, {})[place] = (position, position.generation, leader)
        if not self._has_room():
            return wake_ms
        for node_id, asked in by_node.items():
            if node_id in full:
                continue
            cut_for = self._make_way(node_id, asked, may_cut=may_cut)
            if cut_for is None:
                continue
            self._void(asked)
            due_ms = now_ms + self._config.fetch_max_wait_ms + SILENCE_MS
            fetch = self._fetches[node_id] = _Fetch(self._metadata.view.brokers[node_id], asked, due_ms, cut_for)
            work = asyncio.get_running_loop().create_task(self._fetch(node_id, fetch))
            fetch.task = watched(work, self._crashed)
            wake_ms = min(wake_ms, due_ms)
        return wake_ms

    def _make_way(
        self, node_id: int, wanted: Mapping[TopicPartition, tuple[FetchPosition, int, Leader]], *, may_cut: bool
    ) -> dict[TopicPartition, None] | None:
        """For which partitions this node's fetches were cut short since its last answer; None: one is to go on."""
        fetch = self._fetches.get(node_id)
        if fetch is None:
            return {}
        left_out = {place: None for place in wanted if may_cut and fetch.leaves_out(wanted[place][0])}
        if not left_out:
            return None
        self._cancel(fetch)
        return {**fetch.cut_for, **left_out}

    def _void(self, places: Iterable[TopicPartition]) -> None:
        """Others are asked about these now: whoever led before may answer yet, and is not heard any more."""
        for fetch in self._fetches.values():
            for place in places:
                if place in fetch.asked:
                    position, _, leader = fetch.asked[place]
                    fetch.asked[place] = (position, NO_GENERATION, leader)

    def _start_positions(self) -> None:
        self._has_to_move = self._starting.look(self.positions, may_move=not self.taken)

    def _has_started(self) -> None:
        self._arrived.set()
        self._look_anew()

    def _drop_stale(self) -> None:
        """What nobody will read takes no room: a reader that waits for what comes next would wait for ever."""
        if any(answer.is_stale for answer in self._answers):
            self._answers = deque(answer for answer in self._answers if not answer.is_stale)

    def _has_room(self) -> bool:
        """Whether less than fetch_max_bytes wait to be handed out. A paused partition's answers hold up nobody else."""
        waiting = sum(answer.size_bytes for answer in self._answers if not answer.position.paused)
        return waiting < self._config.fetch_max_bytes

    def _in_turn(self) -> list[tuple[TopicPartition, FetchPosition]]:
        """The partitions, another one first each time: brokers fill an answer in the order asked."""
        items = list(self.positions.items())
        if items:
            self._turn = (self._turn + 1) % len(items)
        return items[self._turn :] + items[: self._turn]

    # --- one fetch

    async def _fetch(self, node_id: int, fetch: _Fetch) -> None:
        config = self._config
        try:
            request = self._request(fetch)
            answer = await self._ports.call(
                fetch.address,
                CLIENT + "Fetch",
                request,
                client_pb2.FetchResponse,
                config.fetch_max_wait_ms + config.request_timeout_ms,
            )
        except TransportError as error:
            failure = as_kraftpy_error(error)
            for position, generation, _ in fetch.asked.values():
                if position.generation == generation:
                    self._try_later(position, failure)
            self._metadata.invalidate()
        else:
            self._read(fetch, answer)
        finally:
            if self._fetches.get(node_id) is fetch:
                del self._fetches[node_id]
            self.wake()

    def _request(self, fetch: _Fetch) -> client_pb2.FetchRequest:
        config = self._config
        request = client_pb2.FetchRequest(
            max_wait_ms=config.fetch_max_wait_ms,
            min_bytes=config.fetch_min_bytes,
            max_bytes=config.fetch_max_bytes,
            isolation_level=config.isolation,
            client_id=config.client_id,
        )
        for place, (position, _, leader) in fetch.asked.items():
            request.partitions.add(
                topic=place.topic,
                partition=place.partition,
                offset=position.fetch_offset,
                current_leader_epoch=leader.epoch,
                max_bytes=config.max_partition_fetch_bytes,
                last_fetched_epoch=position.fetch_epoch,
            )
            position.attempted = leader
        return request

    def _read(self, fetch: _Fetch, answer: client_pb2.FetchResponse) -> None:
        for part in answer.partitions:
            asked = fetch.asked.get(TopicPartition(part.topic, part.partition))
            if asked is None:
                continue
            position, generation, leader = asked
            if position.generation != generation:
                continue
            if part.error != NO_ERROR:
                self._refused(position, leader, part)
            elif part.HasField("diverging_end_offset"):
                self._truncated(position, leader, part)
            else:
                self._arrive(position, part)

    def _arrive(self, position: FetchPosition, part: client_pb2.FetchedPartition) -> None:
        position.high_watermark = part.high_watermark
        position.log_start_offset = part.log_start_offset
        records = part.records  # each access copies
        if not records:
            position.attempts = 0
            return
        try:
            aborted = [AbortedTransaction(each.first_offset, each.producer_id) for each in part.aborted]
            answer = Answer(position, records, check_crcs=self._config.check_crcs, aborted=aborted)
        except KraftpyError as error:
            position.error = error
            self._arrived.set()
            return
        if answer.has_batches:
            position.fetched(answer, self._metadata.topic_id(position.topic))
            self._answers.append(answer)
            self._arrived.set()

    def _refused(self, position: FetchPosition, leader: Leader, part: client_pb2.FetchedPartition) -> None:
        error = error_for(part.error, f"{position.place}: {error_for(part.error).message}")
        if isinstance(error, OffsetOutOfRangeError):
            if not self._is_doubted(position, leader, error):
                self._out_of_range(position, part)
        elif error.retriable and isinstance(error, StaleMetadataError):
            if part.leader >= 0 and part.leader_epoch > 0:
                self._metadata.hint(position.topic, position.partition, Leader(part.leader, part.leader_epoch))
            self._metadata.invalidate()
            self._try_later(position, error)
        elif error.retriable and not (isinstance(error, CorruptRecordError) and position.attempts >= DAMAGE_ATTEMPTS):
            self._try_later(position, error)  # a leader that has yet to hear from its followers, for one
        else:
            position.error = error
            self._arrived.set()

    def _out_of_range(self, position: FetchPosition, part: client_pb2.FetchedPartition) -> None:
        position.high_watermark = part.high_watermark
        position.log_start_offset = part.log_start_offset
        position.is_out_of_range = True

    def _is_doubted(self, position: FetchPosition, leader: Leader, error: KraftpyError) -> bool:
        """Whether a leader that does not have an offset may have been succeeded without knowing it (KIP-320): then
        others are asked who leads."""
        if not position.is_older(leader, self._metadata.topic_id(position.topic)):
            return False
        now_ms = self._ports.clock.monotonic_ms()
        if position.doubted_since_ms is None:
            position.doubted_since_ms = now_ms
        if now_ms - position.doubted_since_ms >= DOUBT_MS:
            return False
        self._metadata.invalidate()
        self._try_later(position, error)
        return True

    def _truncated(self, position: FetchPosition, leader: Leader, part: client_pb2.FetchedPartition) -> None:
        """The log was cut below what this consumer has fetched: an unclean election (KIP-320).

        Or it is that of a topic created anew, whose first records nobody here has read.
        """
        known = self._metadata.topic_id(position.topic)
        if known and not position.is_of(known):  # what nobody knows at this moment proves nothing
            self._out_of_range(position, part)
        elif self._is_doubted(position, leader, LogTruncatedError()):
            return
        elif position.is_cut_at(part.diverging_end_offset):
            position.cut_to = part.diverging_end_offset
        else:
            position.fetch_epoch = -1  # to go on without

    def _try_later(self, position: FetchPosition, error: KraftpyError) -> None:
        position.attempts += 1
        pause_ms = backoff_ms(position.attempts, self._config.retry_backoff_ms, self._config.retry_backoff_max_ms)
        position.retry_at_ms = self._ports.clock.monotonic_ms() + round(self._ports.jittered(pause_ms))
        _log.debug("%s: %s", position.place, error)

    def _check_silence(self, now_ms: int) -> int:
        wake_ms = NEVER_MS
        for fetch in list(self._fetches.values()):
            if now_ms < fetch.due_ms:
                wake_ms = min(wake_ms, fetch.due_ms)
                continue
            if any(self._has_moved(place, leader) for place, (_, _, leader) in fetch.asked.items()):
                self._cancel(fetch)
                continue
            self._metadata.invalidate()
            fetch.due_ms = now_ms + SILENCE_MS
            wake_ms = min(wake_ms, fetch.due_ms)
        return wake_ms

    def _has_moved(self, place: TopicPartition, asked: Leader) -> bool:
        leader = self._metadata.leader(*place)
        return leader is not None and leader.epoch > asked.epoch

    def _look_anew(self) -> None:
        """And cut short the fetches that do not ask for what is wanted now."""
        self._may_cut = True
        self.wake()

    def _cancel(self, fetch: _Fetch) -> None:
        for node_id, other in list(self._fetches.items()):
            if other is fetch:
                del self._fetches[node_id]
        if fetch.task is not None:
            fetch.task.cancel()
