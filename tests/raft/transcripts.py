"""Transcripts: what one core is told, and what it wants done, as lines to be read.

A file in `transcripts/` holds commands at the line's beginning and, indented below each, the effects. Tests compare;
`python -m tests.raft.transcripts --rewrite` writes down what the core does now, for a reader of the diff to judge.

Commands (`5/2`: end offset 5, epoch 2; `3+2/1`: an entry at 3 with 2 records of epoch 1; `at` is the time in ms):

    replica 1 of 1,2,3 [log 0+1/0,1+3/1] [epoch 2] [voted 1] [leader 3] [snapshot 4/1] [asking 1,2]
    at 10 time
    at 10 asked 7 by 2 pre-vote|vote|fetch|snapshot|begin|end …
    at 10 answered 3 by 2 [granted] epoch 2 [leader 2] …
    at 10 failed 3 to 2 [refused]
    at 10 persisted 5 | proposal 9 [count 2] [place 4] | read 8 | transfer 2
    at 10 taken 5/2 | received 5/2 of 1,2,3 | voters 9 of 1,2,3,4
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

from raft.config import RaftConfig
from raft.core import RaftCore
from raft.errors import QuorumBroken
from raft.events import (
    AnswerProposal,
    AnswerRead,
    Append,
    ApplyUpTo,
    BecameLeader,
    BeginQuorumEpochRequest,
    DropLogBefore,
    Effect,
    EndQuorumEpochRequest,
    Entry,
    Epoch,
    EpochResponse,
    Event,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LeaderChange,
    LeaderKnown,
    LoadSnapshot,
    LogPosition,
    NodeId,
    Offset,
    Persisted,
    PersistVote,
    Proposed,
    ReadRequested,
    ReplicaKey,
    Request,
    RequestFailed,
    RequestId,
    RequestReceived,
    Resigned,
    Respond,
    RespondEntries,
    RespondSnapshot,
    Response,
    ResponseReceived,
    Send,
    SnapshotId,
    SnapshotReceived,
    SnapshotTaken,
    TimePassed,
    TransferRequested,
    Truncate,
    Voter,
    VoterChangeRequested,
    VoteRequest,
    VoteResponse,
    VoterSet,
)
from raft.founding import founding_entry
from raft.log_shape import StoredLog
from tests.raft.memory_log import MemoryLog

FOLDER = Path(__file__).parent / "transcripts"
FLAGS = ("granted", "refused")


class NoChance:
    """Every random delay is its smallest."""

    def randrange(self, stop: int, /) -> int:
        assert stop >= 1
        return 0


def key_of(name: str) -> ReplicaKey:
    """`2` is node 2 on its first disk, `2'` the same node on another."""
    number = int(name.rstrip("'"))
    return ReplicaKey(NodeId(number), UUID(int=number + 1000 * name.count("'")))


def name_of(key: ReplicaKey | None) -> str:
    return "-" if key is None else f"{key.node_id}" + "'" * (key.directory_id.int // 1000)


def voters_of(names: str) -> VoterSet:
    return VoterSet(tuple(Voter(key_of(name), f"n{name}", 9093) for name in names.split(",")))


def names_of(voters: VoterSet) -> str:
    return ",".join(name_of(voter.key) for voter in voters.voters)


def position_of(text: str) -> LogPosition:
    end_offset, _, epoch = text.partition("/")
    return LogPosition(Epoch(int(epoch)), Offset(int(end_offset)))


def snapshot_of(text: str) -> SnapshotId:
    position = position_of(text)
    return SnapshotId(position.epoch, position.end_offset)


def entries_of(text: str) -> tuple[Entry, ...]:
    """`3+2/1` is an entry of the state machine's, `3+1/1:1.2.3` one with a voter set."""
    entries = []
    for each in text.split(","):
        shape, _, voters = each.partition(":")
        offset, _, rest = shape.partition("+")
        count, _, epoch = rest.partition("/")
        body = voters_of(voters.replace(".", ",")) if voters else b"x"
        entries.append(Entry(Offset(int(offset)), int(count), Epoch(int(epoch)), body))
    return tuple(entries)


def words(line: str) -> dict[str, str]:
    """Names and values in turn; flags stand alone."""
    found: dict[str, str] = {}
    rest = iter(line.split())
    for name in rest:
        found[name] = "yes" if name in FLAGS else next(rest, "")
    return found


# --- commands --------------------------------------------------------------------------------------------------------


def replica(line: str, make_core: Callable[..., RaftCore]) -> RaftCore:
    said = words(line)
    voters = voters_of(said["of"]) if "of" in said else None
    log = MemoryLog(entries_of(said["log"])) if "log" in said else MemoryLog([founding_entry(voters)] if voters else [])
    snapshot = snapshot_of(said["snapshot"]) if "snapshot" in said else None
    if snapshot is not None and "log" not in said:
        log = MemoryLog()
        log.start_offset = log.durable_end_offset = snapshot.end_offset
    elif "log" in said:
        log.start_offset = log.entries[0].offset
    sets = [(Offset(snapshot.end_offset if snapshot else 1), voters)] if voters else []
    sets += [(each.end_offset, each.body) for each in log.entries if isinstance(each.body, VoterSet)][bool(voters) :]
    stored = StoredLog(log.start_offset, log.end_offset, tuple(log.epochs()), tuple(sets), snapshot)
    vote = None
    if "epoch" in said:
        voted = key_of(said["voted"]) if "voted" in said else None
        leader_id = NodeId(int(said["leader"])) if "leader" in said else None
        vote = PersistVote(Epoch(int(said["epoch"])), voted, leader_id)
    asking = tuple(NodeId(int(each)) for each in said.get("asking", "").split(",") if each)
    return make_core(RaftConfig(fetch_timeout_ms=1_500), key_of(said["replica"]), stored, vote, NoChance(), 0, asking)


def event(line: str, core: RaftCore) -> Event:
    at, now_ms, kind, *rest = line.split()
    assert at == "at", line
    now, said = int(now_ms), words(" ".join([kind, *rest]))
    match kind:
        case "time":
            return TimePassed(now)
        case "asked":
            asked = request(rest[3], rest[2], words(" ".join(rest[4:])), core)
            return RequestReceived(now, RequestId(int(rest[0])), asked)
        case "answered":
            return ResponseReceived(now, RequestId(int(rest[0])), NodeId(int(rest[2])), response(rest[3], rest[4:]))
        case "failed":
            return RequestFailed(now, RequestId(int(said["failed"])), NodeId(int(said["to"])), "refused" in said)
        case "persisted":
            return Persisted(now, Offset(int(said["persisted"])))
        case "proposal":
            epoch = Epoch(int(said.get("epoch", core.epoch)))
            place = Offset(int(said["place"])) if "place" in said else None
            return Proposed(now, RequestId(int(said["proposal"])), epoch, b"x", int(said.get("count", "1")), place)
        case "read":
            return ReadRequested(now, RequestId(int(said["read"])))
        case "transfer":
            return TransferRequested(now, NodeId(int(said["transfer"])) if said["transfer"] else None)
        case "taken":
            return SnapshotTaken(now, snapshot_of(said["taken"]))
        case "received":
            return SnapshotReceived(now, snapshot_of(said["received"]), voters_of(said["of"]))
        case "voters":
            return VoterChangeRequested(now, RequestId(int(said["voters"])), core.epoch, voters_of(said["of"]))
    raise ValueError(line)


def request(kind: str, by: str, said: dict[str, str], core: RaftCore) -> Request:
    epoch = Epoch(int(said["epoch"])) if "epoch" in said else core.epoch
    match kind:
        case "pre-vote" | "vote":
            voter = key_of(said.get("of", name_of(core.key)))
            return VoteRequest(key_of(by), voter, epoch, position_of(said["last"]), kind == "pre-vote")
        case "fetch":
            known, round_ = Offset(int(said.get("knows", "0"))), int(said.get("round", "0"))
            return FetchRequest(key_of(by), epoch, position_of(said["from"]), known, round_, 500)
        case "snapshot":
            return FetchSnapshotRequest(key_of(by), epoch, snapshot_of(said["of"]), int(said["position"]), 100)
        case "begin":
            return BeginQuorumEpochRequest(NodeId(int(by)), epoch)
        case "end":
            preferred = tuple(NodeId(int(each)) for each in said["preferred"].split(","))
            return EndQuorumEpochRequest(NodeId(int(by)), epoch, preferred)
    raise ValueError(kind)


def response(kind: str, rest: list[str]) -> Response:
    said = words(" ".join(rest))
    epoch, granted = Epoch(int(said["epoch"])), "granted" in said
    leader_id = NodeId(int(said["leader"])) if "leader" in said else None
    match kind:
        case "vote":
            return VoteResponse(epoch, leader_id, granted)
        case "epoch":
            return EpochResponse(epoch, leader_id)
        case "fetch":
            mark, round_ = Offset(int(said.get("committed", "0"))), int(said.get("round", "0"))
            diverging = position_of(said["diverging"]) if "diverging" in said else None
            snapshot = snapshot_of(said["snapshot"]) if "snapshot" in said else None
            entries = entries_of(said["entries"]) if "entries" in said else ()
            return FetchResponse(granted, epoch, leader_id, mark, round_, diverging, snapshot, entries)
        case "snapshot":
            chunk = b"x" * int(said["bytes"])
            position, size = int(said["position"]), int(said["size"])
            return FetchSnapshotResponse(granted, epoch, leader_id, snapshot_of(said["of"]), position, size, chunk)
    raise ValueError(kind)


# --- effects ---------------------------------------------------------------------------------------------------------


def tell(effect: Effect) -> str:
    match effect:
        case PersistVote(epoch, voted, leader_id):
            return f"persist: epoch {epoch}, voted {name_of(voted)}, leader {leader_or(leader_id)}"
        case Truncate(end_offset):
            return f"truncate to {end_offset}"
        case Append(entries):
            return f"append {tell_entries(entries)}"
        case LoadSnapshot(snapshot):
            return f"load snapshot {tell_position(snapshot)}"
        case DropLogBefore(start_offset):
            return f"drop log before {start_offset}"
        case Send(to, request_id, asked, _):
            return f"send {request_id} to {to}: {tell_request(asked)}"
        case Respond(request_id, answer):
            return f"respond {request_id}: {tell_response(answer)}"
        case RespondEntries(request_id, answer, offset, end_offset, _):
            return f"respond {request_id}: {tell_response(answer)}, entries of [{offset}, {end_offset})"
        case RespondSnapshot(request_id, asked, _):
            return f"respond {request_id}: chunk of {tell_position(asked.snapshot)} at {asked.position}"
        case AnswerProposal(proposal_id, reached):
            return f"answer proposal {proposal_id}: " + ("refused or unknown" if reached is None else f"{reached}")
        case AnswerRead(read_id, offset):
            return f"answer read {read_id}: " + ("refused" if offset is None else f"{offset}")
        case ApplyUpTo(high_watermark):
            return f"apply up to {high_watermark}"
        case LeaderKnown(epoch, leader_id):
            return f"leader of epoch {epoch}: {leader_or(leader_id)}"
        case BecameLeader(epoch, end_offset):
            return f"leads epoch {epoch} from {end_offset} on"
        case Resigned(epoch):
            return f"leads epoch {epoch} no longer"


def leader_or(leader_id: NodeId | None) -> str:
    return "nobody" if leader_id is None else str(leader_id)


def tell_position(position: LogPosition | SnapshotId) -> str:
    return f"{position.end_offset}/{position.epoch}"


def tell_entries(entries: tuple[Entry, ...]) -> str:
    def body(entry: Entry) -> str:
        match entry.body:
            case VoterSet():
                return f" voters {names_of(entry.body)}"
            case LeaderChange(leader_id):
                return f" leader {leader_id}"
            case _:
                return ""

    return ", ".join(f"{entry.offset}+{entry.count}/{entry.epoch}{body(entry)}" for entry in entries)


def tell_request(request: Request) -> str:
    match request:
        case VoteRequest(_, voter, epoch, last, pre_vote):
            return (
                f"{'pre-vote' if pre_vote else 'vote'} of {name_of(voter)}, epoch {epoch}, last {tell_position(last)}"
            )
        case BeginQuorumEpochRequest(_, epoch):
            return f"begin epoch {epoch}"
        case EndQuorumEpochRequest(_, epoch, preferred):
            return f"end epoch {epoch}, preferred {','.join(map(str, preferred))}"
        case FetchRequest(_, epoch, position, known, round_, wait_ms):
            at_once = "" if wait_ms else ", at once"
            return f"fetch, epoch {epoch}, from {tell_position(position)}, knows {known}, round {round_}{at_once}"
        case FetchSnapshotRequest(_, epoch, snapshot, position, _):
            return f"fetch snapshot {tell_position(snapshot)} at {position}, epoch {epoch}"


def tell_response(response: Response) -> str:
    granted = "granted" if not isinstance(response, EpochResponse) and response.granted else "not granted"
    known = f"epoch {response.epoch}, leader {leader_or(response.leader_id)}"
    match response:
        case EpochResponse():
            return known
        case VoteResponse():
            return f"{granted}, {known}"
        case FetchResponse(_, _, _, mark, round_, diverging, snapshot, _):
            more = f", diverging {tell_position(diverging)}" if diverging else ""
            more += f", snapshot {tell_position(snapshot)}" if snapshot else ""
            return f"{granted}, {known}, committed {mark}, round {round_}{more}"
        case FetchSnapshotResponse(_, _, _, snapshot, position, size, _):
            return f"{granted}, {known}, snapshot {tell_position(snapshot)} at {position} of {size}"


# --- files -----------------------------------------------------------------------------------------------------------


def play(text: str, make_core: Callable[..., RaftCore] = RaftCore) -> str:
    """The transcript with its effects as they are now."""
    lines: list[str] = []
    core: RaftCore | None = None
    for line in text.splitlines():
        if line.startswith("    "):
            continue
        lines.append(line)
        if line.startswith("replica "):
            core = replica(line, make_core)
        elif line and not line.startswith("#"):
            assert core is not None, "the first command says which replica it is"
            lines += [f"    {each}" for each in answers(core, line)]
    return "\n".join(lines) + "\n"


def answers(core: RaftCore, line: str) -> Iterator[str]:
    role = core.role.name
    try:
        effects = core.step(event(line, core))
    except QuorumBroken as error:
        yield f"stops: {error}"
        return
    for effect in effects.items:
        yield tell(effect)
    if core.role.name != role:
        yield f"is {core.role.name} now"
    if effects.deadline_ms is not None:
        yield f"wakes at {effects.deadline_ms}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare or rewrite the transcripts of the core.")
    parser.add_argument("--rewrite", action="store_true")
    rewrite = parser.parse_args().rewrite
    different = 0
    for path in sorted(FOLDER.glob("*.txt")):
        text = path.read_text()
        now = play(text)
        if now != text:
            different += 1
            print(f"{path.name} {'is rewritten' if rewrite else 'differs'}")
            if rewrite:
                path.write_text(now)
    return 0 if rewrite else int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
