"""What was found, as markdown: the table, the disk beside it, the settings, and what the figures do not say. Pure."""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from bench.versus import consuming
from bench.versus.contenders import JAVA_OPTIONS
from bench.versus.kept import Kept
from bench.versus.rounds import DISK_SHARE_MET, compare, is_met
from bench.versus.rows import Better, Measure, Row

HEAD = ("measure", "theirs", "ours", "unit", "ratio", "target", "met", "of the disk")
_MET = {True: "yes", False: "**no**", None: ""}

OF_THE_DISK = (
    " “Of the disk” is what all replicas flushed of a row's records for each MB that the three got; a flushed row that "
    f"reaches {DISK_SHARE_MET:.0%} of it counts as met."
)

NOT_SAID = """\
What the figures do not say: how either does on more cores, on disks of their own, or over a network, as nodes, clients
and load share one machine and its loopback; what a JVM reaches after hours (each node is minutes old, and so is Java's
client, which is compiled while it is measured); and how long their tails are, beyond the seconds that were measured. A
virtual disk answers a flush from its host's memory. Whether elections happen without a reason in an hour with all cores
busy is not measured here."""


def markdown(measures: Sequence[Measure], found: Kept, command: str, plots: Sequence[tuple[str, str]] = ()) -> str:
    """`plots` are captions and paths, as the document links to them."""
    shown = [
        *table(measures, found),
        *failures(found),
        "",
        disk_line(found) + OF_THE_DISK,
        "",
        *settings_lines(measures),
        "",
        NOT_SAID,
    ]
    return page(command, found, shown, plots)


def page(command: str, found: Kept, shown: Sequence[str], plots: Sequence[tuple[str, str]]) -> str:
    """What was run and on what, what was found, and the plots."""
    facts = "; ".join(f"{name} {value}" for name, value in sorted(found.facts.items()))
    pictures = [line for caption, path in plots for line in ("", f"![{caption}]({path})")]
    return "\n".join([f"`{command}`: {facts}.", "", *shown, *pictures])


def table(measures: Sequence[Measure], found: Kept) -> Iterator[str]:
    yield line(HEAD)
    yield "|---|---:|---:|---|---:|---|---|---:|"
    for measure in measures:
        for row in measure.rows:
            yield line(cells(measure, row, found))


def line(shown: Iterable[str]) -> str:
    """Of a table."""
    return f"| {' | '.join(shown)} |"


def cells(measure: Measure, row: Row, found: Kept) -> list[str]:
    compared = compare(measure, row, found.results, disk_by_round(found))
    share = compared.disk_share
    return [
        row.label,
        spread(compared.theirs),
        spread(compared.ours),
        row.unit,
        spread(compared.ratios, digits=2 if (compared.ratio or 1.0) >= 0.1 else 3)
        or ("failed" if compared.error else ""),
        _target(row),
        _MET[is_met(row, compared)],
        "" if share is None else f"{share:.0%}",
    ]


def failures(found: Kept) -> list[str]:
    """A line for each measure that failed, on whom and in which round."""
    lines = [
        f"- {name}, {contender}, round {number + 1}: `{taken.error.replace('`', '_')}`"
        for (number, name, contender), taken in found.results.items()
        if taken.error
    ]
    return ["", "Failed:", "", *lines] if lines else []


def disk_by_round(found: Kept) -> dict[int, float]:
    return {number: figures["three"] for number, figures in found.disk.items()}


def disk_line(found: Kept) -> str:
    one, three = ([figures[name] for figures in found.disk.values()] for name in ("one", "three"))
    return (
        f"The disk, before each round: 1 MB written and flushed by turns, {spread(one)} MB/s by one process and "
        f"{spread(three)} MB/s by three together."
    )


MEMORY_LINE = (
    "Before each measurement free memory is filled with clean pages of the page cache, for both alike, so that no "
    "figure hangs on how fast a virtual machine's host gives memory back (`bench/versus/memory.py`)."
)


def settings_lines(measures: Sequence[Measure]) -> Iterator[str]:
    yield (
        "Ratios are ours : theirs of one round, and what is shown of them, as of figures, is the median with the least "
        "and the most. MB are 10⁶ bytes. Flushed is our default, relaxed `log.flush.interval.messages` without limit, "
        "and both flushed is Kafka with `log.flush.interval.messages=1`. Kafka's nodes run with the options of its "
        f"start script (`{' '.join(JAVA_OPTIONS)}`). Replication factor 3, `min.insync.replicas=2`, acks=all; one "
        "node: 1 and 1. Everything else is at its default. A cluster that several measures share has taken and given "
        f"{consuming.WARM_RECORDS:,} records before them, so that a JVM has compiled what it compiles first. "
        + MEMORY_LINE
    )
    yield ""
    yield "| rows | how |"
    yield "|---|---|"
    for measure in measures:
        yield f"| {measure.rows[0].label.removesuffix(': flushed')} | {measure.settings} |"


def spread(figures: Sequence[float], digits: int | None = None) -> str:
    """The median, and the least and the most where there are several."""
    if not figures:
        return ""
    middle = statistics.median(figures)
    places = _digits(middle) if digits is None else digits
    if len(figures) == 1:
        return f"{middle:,.{places}f}"
    return f"{middle:,.{places}f} ({min(figures):,.{places}f}–{max(figures):,.{places}f})"


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    sign = "≥" if row.better is Better.HIGHER else "≤"
    unit = f" {row.unit}" if row.target.absolute else "×"
    return f"{sign} {row.target.limit:g}{unit}"


def _digits(figure: float) -> int:
    """Three figures that count."""
    if figure >= 100:
        return 0
    return 1 if figure >= 10 else 2
