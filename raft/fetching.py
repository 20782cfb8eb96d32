"""What Follower and Observer share: asking the leader for entries, one question at a time (KIP-595).

The question carries the *durable* position, because the leader counts it. While the disk works nothing is asked, except
that after `keep_alive_ms` the old position is sent again, so that neither side takes a slow flush for a lost peer;
entries that come twice are recognized by offset and epoch. Invariants:

- `matched` is the end of the prefix known to be the leader's: high_watermark <= min(leader's, matched, durable);
- the high watermark of a diverging answer is never used (KAFKA-14704: truncate first);
- nothing below the high watermark is truncated (KAFKA-12460), and no entry above the leader's epoch, or with an epoch
  that goes back, is appended (KAFKA-18723).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from raft.events import (
    Append,
    Entry,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LogPosition,
    NodeId,
    Offset,
    RequestId,
    Response,
    SnapshotId,
    SnapshotReceived,
)
from raft.role import Role

if TYPE_CHECKING:
    from raft.core import RaftCore


@dataclass(slots=True)
class Download:
    """A snapshot on its way. `position` bytes have been handed to the shell, which makes them durable at the end."""

    snapshot: SnapshotId
    source: NodeId
    asked: RequestId | None = None  # the chunk under way
    position: int = 0
    last: RequestId | None = None  # the last chunk: it came, and the shell may yet report that it failed

    @property
    def complete(self) -> bool:
        return self.last is not None


class Fetching(Role):
    def __init__(self, core: "RaftCore") -> None:
        super().__init__(core)
        self._fetch_id: RequestId | None = None  # the one question under way
        self._asked_from = LogPosition(core.epoch, Offset(0))
        self._fetch_at_ms: int | None = None  # None: nothing to ask before something happens
        self._failures = 0
        self._answered_once = False
        self._round = 0
        self._matched = Offset(0)
        self._leader_high_watermark = Offset(0)
        self._download: Download | None = None

    def enter(self) -> None:
        self._ask_when_durable()

    # --- what the two roles decide

    def whom_to_ask(self) -> NodeId | None:
        raise AssertionError("a replica that fetches knows from whom")

    def heard(self) -> None:
        """The leader of this epoch answered a question of ours."""

    def unheard(self, refused: bool) -> None:
        """A question was not answered."""

    def denied(self, response: FetchResponse | FetchSnapshotResponse, sender: NodeId) -> None:
        """`sender` does not lead this epoch."""

    # --- time and the disk

    def deadline_ms(self) -> int | None:
        return self._fetch_at_ms

    def time_passed(self) -> None:
        if self._fetch_at_ms is not None and self.core.now_ms >= self._fetch_at_ms:
            self._ask()

    def persisted(self) -> None:
        self._advance()
        self._ask_when_durable()

    def _ask_when_durable(self) -> None:
        """Ask now if everything received is durable; otherwise only to be remembered, after a while."""
        if self._download is not None and not self._download.complete:
            self._ask_chunk(self._download)
        elif self._download is None and self.core.log.durable_offset == self.core.log.end_offset:
            self._ask()
        elif self._fetch_id is None:
            self._fetch_at_ms = self.core.now_ms + self.core.config.keep_alive_ms

    def _ask(self) -> None:
        core, to = self.core, self.whom_to_ask()
        self._fetch_at_ms = None
        if self._fetch_id is not None or to is None:
            return
        if self._download is not None and not self._download.complete:
            self._ask_chunk(self._download)
            return
        self._asked_from = core.log.durable
        wait_ms = core.config.fetch_max_wait_ms if self._answered_once else 0  # first of all: does it lead?
        request = FetchRequest(core.key, core.epoch, self._asked_from, core.high_watermark, self._round, wait_ms)
        self._fetch_id = core.send(to, request, core.config.fetch_timeout_ms)

    def retry(self) -> None:
        """Ask again after a while that grows with every failure."""
        wait_ms = min(self.core.config.retry_backoff_ms << min(self._failures, 16), self.core.config.fetch_max_wait_ms)
        self._failures += 1
        self._fetch_at_ms = self.core.now_ms + wait_ms

    def failed(self, request_id: RequestId, receiver: NodeId, refused: bool) -> None:
        download = self._download
        if download is not None and request_id == download.asked:
            download.asked = None
        elif download is not None and request_id == download.last:
            self._download = None  # the shell could not verify it: from the beginning
        elif request_id == self._fetch_id:
            self._fetch_id = None
        else:
            return
        self.retry()
        self.unheard(refused)

    # --- answers

    def responded(self, request_id: RequestId, sender: NodeId, response: Response) -> None:
        if request_id == self._fetch_id and isinstance(response, FetchResponse):
            self._fetch_id = None
            if not response.granted or response.epoch != self.core.epoch:
                self.denied(response, sender)
                return
            self._failures = 0
            self.heard()
            self._answered(sender, response)
        elif self._download and request_id == self._download.asked and isinstance(response, FetchSnapshotResponse):
            self._chunk_answered(self._download, sender, response)

    def _answered(self, sender: NodeId, response: FetchResponse) -> None:
        self._answered_once = True
        self._round = response.round
        if self._download is not None:
            self._ask_when_durable()  # only to be remembered: what it says is known
            return
        if response.diverging is not None:
            self._truncate_to(response.diverging)
        elif response.snapshot is not None:
            # What the log has so far is only on its way to the disk. A snapshot that replaces it comes later than the
            # flush, whose end the leader hears of by a keep-alive: it would drop what lies above and is counted.
            if not self.core.log.holds(response.snapshot):
                self._download = Download(response.snapshot, sender)
        elif self._acceptable(response.entries):
            self._append(response.entries)
            end_offset = response.entries[-1].end_offset if response.entries else self._asked_from.end_offset
            self._matched = max(self._matched, end_offset)
            self._leader_high_watermark = max(self._leader_high_watermark, response.high_watermark)
            self._advance()
        else:
            self.retry()
            return
        self._ask_when_durable()

    def _acceptable(self, entries: tuple[Entry, ...]) -> bool:
        """Whether entries continue the position asked from, without gaps, in epochs that ascend up to the leader's."""
        if not entries:
            return True
        first, last = entries[0], entries[-1]
        return (
            first.offset == self._asked_from.end_offset
            and self._asked_from.epoch <= first.epoch
            and last.epoch <= self.core.epoch
            and all(entry.count >= 1 for entry in entries)
            and all(a.end_offset == b.offset and a.epoch <= b.epoch for a, b in pairwise(entries))
        )

    def _append(self, entries: tuple[Entry, ...]) -> None:
        """Append what is not there yet. An entry of another epoch than ours at its offset means that our log goes
        wrong from there on: a tail of an older epoch, still on its way to the disk when we asked."""
        log = self.core.log
        fresh = 0
        while fresh < len(entries) and entries[fresh].offset < log.end_offset:
            is_kept = entries[fresh].offset >= log.start_offset  # else a snapshot has it, and it is committed
            if is_kept and log.epoch_at(entries[fresh].offset) != entries[fresh].epoch:
                self.core.truncate(entries[fresh].offset)
                break
            fresh += 1
        if fresh < len(entries):
            for entry in entries[fresh:]:
                log.append(entry)
            self.core.emit(Append(entries[fresh:]))

    def _truncate_to(self, diverging: LogPosition) -> None:
        """Cut to where the leader's epochs and ours may still agree (KIP-101, KIP-279).

        If both have the epoch, the shorter run is a prefix of the longer. If we do not have it, our later epochs go,
        and the next answer speaks of one that we do have; the leader's offset means nothing to us then, and may lie
        inside an entry of ours: leader 1·[0,3) 2·[3,4), ours 1·[0,2) 1·[2,5) 3·[5,6), diverging (2, 4): cut to 5.
        """
        ours = self.core.log.end_of_epoch(diverging.epoch)
        both_have_it = ours.epoch == diverging.epoch
        self.core.truncate(min(ours.end_offset, diverging.end_offset) if both_have_it else ours.end_offset)

    def _advance(self) -> None:
        self.core.advance_high_watermark(
            min(self._leader_high_watermark, self._matched, self.core.log.durable_offset),
        )

    # --- snapshots (KIP-630)

    def _ask_chunk(self, download: Download) -> None:
        core = self.core
        self._fetch_at_ms = None
        if download.asked is not None:
            return
        size_max = core.config.snapshot_chunk_bytes_max
        request = FetchSnapshotRequest(core.key, core.epoch, download.snapshot, download.position, size_max)
        download.asked = core.send(download.source, request, core.config.fetch_timeout_ms)

    def _chunk_answered(self, download: Download, sender: NodeId, response: FetchSnapshotResponse) -> None:
        if not response.granted or response.epoch != self.core.epoch:
            self._download = None
            self.denied(response, sender)
            return
        self._failures = 0
        self.heard()
        gone = response.size < 0 or response.snapshot != download.snapshot or response.position != download.position
        if gone or not (response.chunk or response.size == download.position):
            self._download = None
            self.retry()
            return
        download.position += len(response.chunk)
        asked, download.asked = download.asked, None
        if download.position >= response.size:
            download.last = asked
        self._ask_when_durable()

    def snapshot_received(self, event: SnapshotReceived) -> None:
        download = self._download
        if download is None or download.snapshot != event.snapshot:
            return  # of a download given up: the log has moved on
        self._download = None
        if event.snapshot.end_offset > self.core.high_watermark:
            self.core.load_snapshot(event.snapshot, event.voters)
            self._matched = event.snapshot.end_offset
            self._fetch_id = None  # a question about the former log may be under way: its answer means nothing now
        self._ask_when_durable()
