"""docs/known-bugs.md: which check found which bug, after how many seeds. `python -m tests.bugs` writes it."""

from collections.abc import Iterable

from tests.bugs.bug import ROOT, Bug
from tests.bugs.catalogue import BUGS, PARTS
from tests.bugs.results import Results

DOCUMENT = ROOT / "docs" / "known-bugs.md"
SAID_MAX = 110
HEAD = ("bug", "what the code does wrong then", "offends", "looked for by", "found as", "seeds")

PREFACE = """\
# Known bugs, put back

Checks that nobody has seen fail are worth little. Each of these bugs takes one defence away, in a copy of the sources
(`tests/bugs`; nothing in the product knows of it), and the seeds are tried from 0 on until a check complains. Cases are
those of [reliability.md](reliability.md); invariants are numbered below.

    make bugs                            # all of them; goes on where it was stopped
    make bugs ONLY=same-epoch JOBS=2     # some, and as many processes at a time
    python -m tests.bugs --help

`make test` looks for ten of them, spread over the parts, and beside them for those that the tests of the quorum, of
replication and of the controller find in a second or two. What a seed is depends on who looks: a history of the
quorum's core (0.1 s), a whole cluster for a virtual minute (2 s), or a run of a test with some hundred drawn examples.
A test that draws nothing is run once.
"""

INVARIANTS = """\
## The invariants

1. At most one quorum leader an epoch. 2. The same offset and epoch means the same log before it. 3. What is committed
is in the log of every later leader. 4. No two nodes apply different records at one offset. 5. High watermark, epoch,
vote and the log's start never go back on a node. 6. What is answered is durable on a majority of the voters.
7. A high watermark passes only what every member of the maximal in-sync set has. 8. Whoever may be elected has all that
is committed. 9. Replicas are equal below it and become equal above. 10. A new leader shows nothing below its epoch's
start. 11. No consumer sees what is not committed, or not decided. 12. acks=all means min.insync.replicas. 13. Only an
unclean election that somebody wanted loses anything. 14. An idempotent record stands once, in its order. 15. A
transaction is all or nothing, and decided by nobody else's messages. 16. No transaction stays open for ever. 17. One
member of a group owns a partition at a time, and offsets do not go back. 18. Who is fenced changes nothing.
"""


def document(results: Results) -> str:
    soon = sum(results.of(bug).found and not bug.counted_from for bug in BUGS.values())
    parts = [PREFACE, f"Of {len(BUGS)} bugs {soon} were found within 2,000 seeds, {soon * 100 // len(BUGS)} %.\n"]
    for title, bugs in PARTS.items():
        if bugs:
            parts.append(f"## {title}\n\n{_table(_row(bug, results) for bug in bugs)}\n")
    rare = [bug for bug in BUGS.values() if not results.of(bug).found or bug.counted_from]
    if rare:
        lines = "\n".join(f"- `{bug.name}`: {bug.explained or 'not explained yet.'}" for bug in rare)
        parts.append(f"## What no check finds, or not within 2,000 seeds\n\n{lines}\n")
    parts.append(INVARIANTS)
    return "\n".join(parts)


def _row(bug: Bug, results: Results) -> tuple[str, ...]:
    result = results.of(bug)
    said = f"`{shortened(result.said)}`" if result.found else "–"
    seeds = f"{result.tried:,}" if result.found else f"not in {result.tried:,}"
    seeds += f", from {bug.counted_from:,} on" if bug.counted_from else ""
    return (f"`{bug.name}`", bug.about, bug.offends, str(bug.finder), said, seeds)


def shortened(said: str) -> str:
    """Without what breaks a table, or is too long for it."""
    line = said.replace("`", "'")
    return line if len(line) <= SAID_MAX else line[: SAID_MAX - 1].rstrip() + "…"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
