"""Where positions begin, and where they go on when their log is elsewhere: looked up, or as auto_offset_reset says.

A position moves by itself only when it may: whoever holds records that it has passed must be able to give them back.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from kraftpy.client.config import ConsumerConfig
from kraftpy.client.fetch_position import EARLIEST_MS, LATEST_MS, FetchPosition
from kraftpy.client.metadata import Metadata
from kraftpy.client.offset_lookup import OffsetLookup
from kraftpy.client.values import TopicPartition
from kraftpy.client.wire import ClientPorts
from kraftpy.errors import KraftpyError, NoOffsetForPartitionError, OffsetOutOfRangeError
from kraftpy.pb import client_pb2

RESETS: dict[str, int | None] = {"earliest": EARLIEST_MS, "latest": LATEST_MS, "none": None}

_log = logging.getLogger(__name__)


class LogTruncatedError(OffsetOutOfRangeError, name="LOG_TRUNCATED"):
    """Records that this consumer has read, or was about to, were taken back by an unclean leader election."""


class Starting:
    """That of all positions of one consumer."""

    def __init__(
        self,
        config: ConsumerConfig,
        ports: ClientPorts,
        metadata: Metadata,
        try_later: Callable[[FetchPosition, KraftpyError], None],
        changed: Callable[[], None],
    ) -> None:
        """`try_later`: a position is not fetched from for a while. `changed`: one has begun, or cannot."""
        self._config = config
        self._metadata = metadata
        self._lookup = OffsetLookup(config, ports, metadata, config.isolation)
        self._reset_ms = RESETS[config.auto_offset_reset]
        self._try_later = try_later
        self._changed = changed
        self._lookups: list[asyncio.Task[None]] = []

    async def close(self) -> None:
        for task in self._lookups:
            task.cancel()
        await asyncio.gather(*self._lookups, return_exceptions=True)
        self._lookups.clear()

    def look(self, positions: Mapping[TopicPartition, FetchPosition], *, may_move: bool) -> bool:
        """Look for starting points where there is none, and lead back who has left its log.

        True: somebody has left it, and must not move now.
        """
        wanted: dict[TopicPartition, int] = {}
        has_to_move = False
        for place, position in positions.items():
            if position.cut_to is not None or (position.is_out_of_range and not position.buffered):
                if may_move:
                    self._lead_back(position)
                else:
                    has_to_move = True
            if position.offset >= 0 or position.is_resetting or position.error is not None:
                continue
            if position.start_ms is None:
                position.error = NoOffsetForPartitionError(
                    f"{place} has no position and auto_offset_reset is none: seek, or choose earliest or latest"
                )
                self._changed()
                continue
            position.is_resetting = True
            wanted[place] = position.start_ms
        if wanted:
            # Generations are noted now, not when the task begins: a seek in between must win.
            asked = {place: (positions[place], positions[place].generation) for place in wanted}
            task = asyncio.get_running_loop().create_task(self._find(wanted, asked))
            self._lookups = [*[old for old in self._lookups if not old.done()], task]
        return has_to_move

    def _lead_back(self, position: FetchPosition) -> None:
        if position.cut_to is not None:
            self._follow_cut(position, position.cut_to)
        elif position.error is None:
            self._leave_range(position)

    def _follow_cut(self, position: FetchPosition, where: int) -> None:
        message = (
            f"{position.place}: the log was truncated to offset {where} by an unclean leader election; "
            f"this consumer had fetched up to {position.fetch_offset}"
        )
        if self._reset_ms is None:
            position.reset(None)
            position.error = LogTruncatedError(message + f"; seek to {where} to go on")
            self._changed()
            return
        _log.warning("%s: going on from there", message)
        position.seek(min(where, position.offset))
        self._try_later(position, LogTruncatedError())

    def _leave_range(self, position: FetchPosition) -> None:
        if position.is_of(self._metadata.topic_id(position.topic)):
            start, end = position.log_start_offset, position.high_watermark
            reason = f"is not in the log, which begins at {start} and ends at {end}"
        else:
            reason = "is of a topic that is no more: it was created anew"
        message = f"{position.place}: offset {position.fetch_offset} {reason}"
        if self._reset_ms is None:
            position.is_out_of_range = False
            position.error = OffsetOutOfRangeError(f"{message}, and auto_offset_reset is none")
            self._changed()
            return
        _log.warning("%s; going on from the %s", message, self._config.auto_offset_reset)
        position.reset(self._reset_ms)
        self._try_later(position, OffsetOutOfRangeError())  # never in a tight loop, whatever brokers say

    async def _find(
        self, wanted: dict[TopicPartition, int], positions: dict[TopicPartition, tuple[FetchPosition, int]]
    ) -> None:
        def found(place: TopicPartition, listed: client_pb2.ListedOffset) -> None:
            position, generation = positions[place]
            if position.generation == generation:
                position.seek(listed.offset, listed.leader_epoch)
                self._changed()

        error: KraftpyError | None = None
        try:
            await self._lookup.find(wanted, self._config.request_timeout_ms, found)
        except KraftpyError as failure:
            error = failure
        for position, generation in positions.values():
            if position.generation == generation and position.offset < 0:
                position.is_resetting = False
                if error is not None and not error.retriable:
                    position.error = error
        self._changed()
