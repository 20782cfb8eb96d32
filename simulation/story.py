"""A trace told in words: who did what to whom, and when.

`tell` turns the lines of a trace (`Loop.trace`: virtual seconds, who, what, details) into sentences, one a line. What
the cluster's nodes ask each other all the time (fetches and heartbeats) is counted and told in one line, so that what
matters can be seen. A line of a kind that is not known is told as it is: nothing is left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from simulation.fault_kinds import BY_FAULT, Fault

ROUTINE = (
    *("/kraftpy.pb.Quorum/Fetch", "/kraftpy.pb.Client/Fetch", "/kraftpy.pb.Control/Heartbeat"),
    *("/kraftpy.pb.Client/ListOffsets", "/kraftpy.pb.Client/GetMetadata", "/kraftpy.pb.Quorum/Describe"),
    *("/kraftpy.pb.Admin/DescribeQuorum", "/kraftpy.pb.Admin/DescribeCluster", "/kraftpy.pb.Control/Ping"),
    *("/kraftpy.pb.Control/VerifyTransaction", "/kraftpy.pb.Control/WriteTxnMarkers", "/kraftpy.pb.Control/Forward"),
)
TWO_SIDED = (Fault.TWO_WAY, Fault.ONE_WAY, Fault.CLOGGED, Fault.SLOW_LINK)


@dataclass(frozen=True, slots=True)
class TraceLine:
    """One line of a trace, taken apart. `words` are the details, cut at spaces."""

    at_s: float
    who: str
    kind: str
    words: tuple[str, ...]

    @property
    def rest(self) -> str:
        return " ".join(self.words)


def parse_line(line: str) -> TraceLine:
    """Take a line apart. Raises `ValueError` where it is none."""
    at, who, kind, *words = line.split(" ")
    return TraceLine(float(at), who, kind, tuple(words))


def tell(lines: Iterable[str]) -> Iterator[str]:
    """The story, one sentence a line, with the virtual time in front."""
    routine: dict[str, int] = {}
    for text in lines:
        line = parse_line(text)
        if line.kind == "call" and line.words[2] in ROUTINE:
            name = _method(line.words[2])
            routine[name] = routine.get(name, 0) + 1
            continue
        if routine:
            yield f"{'':>12}  … {_counts(routine)}"
            routine = {}
        yield f"{line.at_s:>12.6f}  {sentence(line)}"
    if routine:
        yield f"{'':>12}  … {_counts(routine)}"


def sentence(line: TraceLine) -> str:
    """What one line means."""
    teller = _TELLERS.get(line.kind)
    if teller is not None:
        try:
            return teller(line)
        except (IndexError, ValueError, KeyError):
            pass  # an older trace, or another's: told as it is
    return f"{line.who}: {line.kind} {line.rest}".rstrip()


def _counts(routine: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in routine.items())


def _method(name: str) -> str:
    """`/kraftpy.pb.Quorum/FetchSnapshot` as people say it."""
    service, _, method = name.rpartition("/")
    return f"{service.rpartition('.')[2]}.{method}"


def _fault(line: TraceLine) -> str:
    name, target, *_ = line.words
    other, amount, duration_ms = line.words[-3], line.words[-2], int(line.words[-1])
    fault = Fault(name)
    parts = [f"FAULT {name} on {target}"]
    if fault in TWO_SIDED:
        parts.append(f"and {other}" if fault is not Fault.ONE_WAY else f"towards {other}")
    kind = BY_FAULT[fault]
    if kind.amount.told:
        parts.append(kind.amount.sentence(int(amount)))
    return f"{' '.join(parts)} for {duration_ms / 1000:g} s: {kind.about}"


def _partition(line: TraceLine) -> str:
    name, *pairs = line.words
    changes = [pair.replace("=", " ").replace("->", " → ") for pair in pairs]
    return f"{name}: {', '.join(changes)}"


_TELLERS: Mapping[str, Callable[[TraceLine], str]] = {
    "start": lambda line: f"{line.words[0]} begins life {line.words[1]}",
    "stop": lambda line: f"{line.words[0]} is told to stop (SIGTERM)",
    "exit": lambda line: f"{line.words[0]} has ended: {line.words[1]}",
    "kill": lambda line: f"{line.words[0]} is killed",
    "power-failure": lambda line: f"{line.words[0]} loses power",
    "disk-crash": lambda line: f"the disk of {line.words[0]} comes out of it with unsynced writes {line.words[1]}",
    "disk-fault": lambda line: f"the disk of {line.words[0]}: {line.words[1]} at {' '.join(line.words[2:])}",
    "disk-wiped": lambda line: f"{line.words[0]} gets an empty disk",
    "stopped-by-its-disk": lambda line: f"{line.words[0]} stops, because its disk failed: {' '.join(line.words[1:])}",
    "pause": lambda line: f"{line.words[0]} is paused (SIGSTOP)",
    "resume": lambda line: f"{line.words[0]} runs on",
    "block": lambda line: f"nothing gets from {line.words[0]} to {line.words[1]} ({_blocked(line.words[2])})",
    "unblock": lambda line: f"{line.words[0]} reaches {line.words[1]} again",
    "clock-jump": lambda line: f"the wall's clock of {line.words[0]} jumps by {int(line.words[1]) / 1000:+g} s",
    "clock-drift": lambda line: f"the clocks of {line.words[0]} run {int(line.words[1]):+d} ppm beside the truth",
    "fault": _fault,
    "call": lambda line: f"{line.words[0]} asks {line.words[1]}: {_method(line.words[2])} ({line.words[3]} bytes)",
    "quorum-leader": lambda line: f"{line.words[0]} leads the quorum in epoch {line.words[1]}",
    "partition": _partition,
    "topic-created": lambda line: f"topic {line.words[0]} is there, with {line.words[1]} partitions",
    "topic-deleted": lambda line: f"topic {line.words[0]} is gone",
    "broker": lambda line: f"broker {line.words[0]} is {' '.join(line.words[1:])}",
    "cut": lambda line: f"{line.words[0]} cuts {line.words[1]} to {line.words[2]} bytes",
    "undelivered": lambda line: f"{line.words[0]} gives up on {line.words[1]}: {line.words[2]}",
    "not-sent": lambda line: f"{line.words[0]} cannot even buffer {line.words[1]}: {line.words[2]}",
    "poll-failed": lambda line: f"{line.words[0]} polls in vain: {line.words[1]}",
    "end-unknown": lambda line: f"{line.words[0]} asks in vain where {line.words[1]} ends: {line.words[-1]}",
    "flush-failed": lambda line: f"{line.who} does not get everything out: {line.rest}",
    "admin-failed": lambda line: f"{line.words[0]} asked to {line.words[1]} {line.words[2]}, and got {line.words[3]}",
    "not-moved": lambda line: f"{line.words[0]} could not move a leadership: {line.words[-1]}",
    "reassigned": lambda line: (
        f"{line.words[0]} asked to move {line.words[1]}-{line.words[2]} to {' '.join(line.words[3:])}"
    ),
    "not-reassigned": lambda line: f"{line.words[0]} could not ask for a move: {line.words[1]}",
    "not-deleted": lambda line: f"the records of {line.words[0]} could not be deleted: {line.words[1]}",
    "not-changed": lambda line: f"{line.words[0]} could not change who votes: {line.words[1]}",
    "violated": lambda line: f"VIOLATED: {line.rest}",
}


def _blocked(how: str) -> str:
    return "it waits" if how == "hold" else "it is lost"
