"""Bugs put back: copies of the core with one line changed, in memory only, to see that the witness sees.

A bug names the module, the line as it stands and the line as it was wrong, and what the verdict must begin with. If the
line is no longer there, the bug says so instead of passing by.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import raft
from raft.core import RaftCore

COPIED = ("role", "status", "log_shape", "waiting", "election", "fetching", "follower", "observer", "leader", "core")


DROP = "self.log.drop_before({0})\n            self.emit(DropLogBefore({0}))"


@dataclass(frozen=True, slots=True)
class Bug:
    name: str
    verdict: str  # a regular expression that the violation begins with
    module: str
    right: str
    wrong: str


RESTARTED_LEADER = Bug(
    "a restarted leader leads on in its epoch",
    "1 election safety",
    "core",
    "return Resigned(self, self.now_ms + self.order_delay_ms())",
    "return Leader(self)",
)
LOGS_NOT_COMPARED = Bug(
    "the leader does not look where logs part",
    "[24] ",
    "leader",
    "answer = self._what_is_wrong(request.position)",
    "answer = None",
)
"""Bugs with a story of their own besides."""

BUGS = (
    Bug(
        "a follower applies whatever it has",
        "4 state machine safety: . applies",
        "fetching",
        "min(self._leader_high_watermark, self._matched, self.core.log.durable_offset),",
        "self.core.log.durable_offset,",
    ),
    Bug(
        "a high watermark follows the leader's, also back",
        "5 something goes back",
        "core",
        "if high_watermark <= self.high_watermark:",
        "if high_watermark == self.high_watermark:",
    ),
    Bug(
        "an epoch is forgotten with the process",
        "5 the epoch of .* goes back",
        "core",
        "self.epoch = max(vote.epoch if vote else Epoch(0), self.log.last.epoch)",
        "self.epoch = self.log.last.epoch",
    ),
    Bug(
        "a leader that is being removed counts itself (KIP-853)",
        "6 durability",
        "leader",
        "        if self.core.is_voter:\n            reached.append",
        "        if True:\n            reached.append",
    ),
    Bug(
        "half of the voters elect",
        "1 election safety",
        "election",
        "majority = majority_of(self._voter_count)",
        "majority = self._voter_count // 2",
    ),
    RESTARTED_LEADER,
    LOGS_NOT_COMPARED,
    Bug(
        "votes go to shorter logs",
        "3 leader completeness",
        "core",
        "up_to_date = request.last >= self.log.last",
        "up_to_date = True",
    ),
    Bug(
        "the high watermark of a diverging answer is used (KAFKA-14704)",
        "4 |.*below the high watermark",
        "fetching",
        "if response.diverging is not None:\n",
        "if response.diverging is not None:\n"
        "            mark = min(response.high_watermark, self.core.log.durable_offset)\n"
        "            self.core.advance_high_watermark(mark)\n",
    ),
    Bug(
        "a vote is forgotten with the process",
        "5 .* votes twice",
        "core",
        "self.voted, self.leader_id = vote.voted, vote.leader_id",
        "self.leader_id = vote.leader_id",
    ),
    Bug(
        "a vote is not persisted",
        "5 .* votes twice",
        "core",
        "self.voted = request.candidate\n            self._save_vote()",
        "self.voted = request.candidate",
    ),
    Bug(
        "the log is dropped up to anywhere",
        "5 the log of node",
        "core",
        DROP.format("former.end_offset"),
        DROP.format("self.log.durable_offset"),
    ),
    Bug(
        "the leader counts what it has not flushed",
        "6 durability",
        "leader",
        "reached.append(self.core.log.durable_offset)",
        "reached.append(self.core.log.end_offset)",
    ),
    Bug(
        "a follower reports what it has not flushed (KAFKA-10533)",
        "6 durability",
        "fetching",
        "self._asked_from = core.log.durable",
        "self._asked_from = core.log.last",
    ),
    Bug(
        "a fetch is counted by node id, not by directory (KIP-853)",
        "6 durability",
        "leader",
        "progress = self.voters.get(key)",
        "progress = {known.node_id: each for known, each in self.voters.items()}.get(key.node_id)",
    ),
    Bug(
        "a leader answers reads without asking",
        "stale read",
        "leader",
        "return proofs >= majority_of(len(self.voters) + self.core.is_voter)",
        "return True",
    ),
    Bug(
        "reads are answered before the epoch's own entry is committed",
        "stale read",
        "leader",
        "while self.established:",
        "while True:",
    ),
    Bug(
        "a truncation does not bring back the former voters",
        "the core of",
        "log_shape",
        "while self._voter_sets and self._voter_sets[-1][0] > end_offset:",
        "while False:",
    ),
    Bug(
        "a proposal stands where it was not meant to",
        "AnswerProposal.* was to end at",
        "leader",
        "if refused or misplaced or",
        "if refused or",
    ),
    Bug(
        "a pre-vote is denied by everybody who remembers a leader",
        "liveness",
        "core",
        "and not self.role.denies_pre_vote(request)",
        "and self.leader_id is None",
    ),
    Bug(
        "a parked fetch is forgotten",
        "liveness",
        "leader",
        "            self._answer_parked(progress)\n\n    def _response",
        "            progress.parked = None\n\n    def _response",
    ),
)
"""Found by the seeds."""

NO_PRE_VOTE = Bug(
    "everybody grants pre-votes (KIP-996)",
    "the epoch has moved on",
    "core",
    " and not self.role.denies_pre_vote(request)",
    "",
)
NO_CHECK_QUORUM = Bug(
    "a leader never looks back for its voters (KAFKA-15489)",
    "it did not happen",
    "leader",
    "return bool(self.voters)",
    "return False",
)
CUT_TO_HIGH_WATERMARK = Bug(
    "a replica that starts cuts its log to the high watermark (KIP-101)",
    "3 leader completeness",
    "fetching",
    "def enter(self) -> None:\n",
    "def enter(self) -> None:\n"
    "        if 1 <= self.core.log.end_offset > self.core.high_watermark:\n"
    "            self.core.log.truncate(max(1, self.core.high_watermark))\n"
    "            from raft.events import Truncate\n"
    "            self.core.emit(Truncate(max(1, self.core.high_watermark)))\n",
)
CUT_BELOW_HIGH_WATERMARK = Bug(
    "whatever the leader says is cut (KAFKA-12460)",
    "",
    "core",
    "if end_offset < self.high_watermark:",
    "if False:",
)
ANYTHING_APPENDED = Bug(
    "entries are appended as they come (KAFKA-18723)",
    "",
    "fetching",
    "            and last.epoch <= self.core.epoch\n",
    "",
)
WIPED_VOTES = Bug(
    "votes go by node id, not by directory (KIP-853)",
    "3 leader completeness",
    "core",
    "if request.voter != self.key:",
    "if request.voter is None or request.voter.node_id != self.key.node_id:",
)
COUNTED_TOO_EARLY = Bug(
    "entries of earlier epochs are committed by counting (Raft, figure 8)",
    "",
    "leader",
    "return agreed if agreed >= self.epoch_end_offset else Offset(0)",
    "return agreed",
)
NOT_COMPARED = Bug(
    "a follower applies what it has not compared",
    "",
    "fetching",
    "min(self._leader_high_watermark, self._matched, self.core.log.durable_offset)",
    "min(self._leader_high_watermark, self.core.log.durable_offset)",
)
LOADS_WHILE_LEADING = Bug(
    "a leader loads a snapshot that it asked for as a follower",
    "",
    "role",
    "def snapshot_received(self, event: SnapshotReceived) -> None: ...",
    "def snapshot_received(self, event: SnapshotReceived) -> None:\n"
    "        if event.snapshot.end_offset > self.core.high_watermark:\n"
    "            self.core.load_snapshot(event.snapshot, event.voters)",
)
TWO_CHANGES = Bug(
    "two voter changes at once (KIP-853)",
    "",
    "leader",
    "            and core.log.voters_end_offset <= core.high_watermark\n",
    "",
)
"""These take a rare chain of events: the stories and transcripts named after them find them."""


@contextmanager
def core_with(bug: Bug) -> Iterator[Callable[..., RaftCore]]:
    """`RaftCore` of a copy of the core in which `bug` is put back."""
    names = [f"raft.{name}" for name in COPIED]
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    finder = _Patching(bug)
    sys.meta_path.insert(0, finder)
    try:
        copy = import_module("raft.core")
    finally:
        sys.meta_path.remove(finder)
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
        for name, module in kept.items():
            setattr(raft, name.rpartition(".")[2], module)
    yield copy.RaftCore


class _Patching(MetaPathFinder, Loader):
    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        return ModuleSpec(fullname, self) if package == "raft" and name in COPIED else None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        source = (Path(raft.__file__).parent / f"{name}.py").read_text()
        if name == self._bug.module:
            assert source.count(self._bug.right) == 1, f"{self._bug.name}: the line to spoil is not there once"
            source = source.replace(self._bug.right, self._bug.wrong)
        exec(compile(source, f"<{name} with a bug>", "exec"), module.__dict__)
