"""Campaigns: what a seed is to be spent on, and what many of them have come to, as values that can be written down.

A campaign goes through fresh seeds. Most are spent on whole clusters of every shape (`simulate`), the rest on the named
scenarios, which go where those do not: compaction, log directories, upgrades, the last replicas.
"""

import json
from bisect import insort
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import NamedTuple

from simulation.fault_kinds import KINDS
from simulation.plan import plan_to_json
from simulation.scenario import RunReport
from simulation.simulate.options import WORKLOADS, Options
from simulation.situations.table import SITUATIONS

NAMED = (
    *("cluster", "cluster-disks", "cluster-wiped", "cluster-wide", "cluster-moves", "cluster-transactions"),
    *("cluster-directories", "cluster-moves-directories", "cluster-last-replicas", "cluster-upgrade"),
    *("compaction", "compacted-once", "voters", "groups", "bit-rot"),
)
NAMED_RATE = 0.45
ALSO = {"compaction": "compacted-transactions"}
"""Scenarios that came later, and take half of the seeds of another: all others stay what they were."""


class Length(NamedTuple):
    """How long a cluster lives in a campaign."""

    minutes: float
    rate: float  # operations a second
    calm: float  # minutes
    weight: float  # of 100


LENGTHS = (
    Length(0.2, 60.0, 0, 47.5),
    Length(0.5, 40.0, 0, 24),
    Length(1.0, 20.0, 0, 12.4),
    Length(2.0, 10.0, 0, 8),
    Length(5.0, 4.0, 0, 4.9),
    Length(10.0, 1.5, 0, 2.7),
    Length(60.0, 0.5, 5, 0.4),
    Length(360.0, 0.2, 20, 0.1),
)
"""Many are short, because most bugs need few operations and faults, and one more seed is another order of them. The
others do about as much in more time, so that what takes its time (time-outs, expiry, leaders that go back) is met too;
and a few grow old: hours in which hardly anything happens, with a bad minute now and then. One of an hour takes as long
as eighty of the shortest."""

NODES = (3, 3, 4, 5, 5, 6)


def scenario_of_seed(seed: int) -> str:
    """What a campaign spends this seed on."""
    random = Random(f"{seed}/campaign")
    if random.random() < NAMED_RATE:
        name = random.choice(NAMED)
        return ALSO[name] if name in ALSO and random.random() < 0.5 else name
    workloads = tuple(WORKLOADS)
    chosen = workloads if random.random() < 0.4 else (random.choice(workloads),)
    length = random.choices(LENGTHS, [each.weight for each in LENGTHS])[0]
    return str(Options(random.choice(NODES), length.minutes, chosen, rate=length.rate, calm=length.calm))


@dataclass(frozen=True, slots=True)
class KeptSeed:
    """A failing run, with all that it takes to run it again, whatever plans seeds will lead to by then."""

    scenario: str
    seed: int
    plan: str  # JSON
    why: str  # its first failure
    open: str = ""  # why it is not mended yet; empty once it is

    @property
    def file_name(self) -> str:
        words = "".join(letter if letter.isalnum() else "-" for letter in self.scenario.partition(":")[0])
        return f"{words}-{self.seed}.json"

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "plan": json.loads(self.plan)}, indent=1) + "\n"


def kept_from_json(text: str) -> KeptSeed:
    """Raises `ValueError`, `TypeError` or `KeyError` where it is none."""
    body = json.loads(text)
    return KeptSeed(**{**body, "plan": json.dumps(body["plan"])})


def keep(report: RunReport) -> KeptSeed:
    return KeptSeed(report.scenario, report.seed, plan_to_json(report.plan), report.error.splitlines()[0][:500])


Counts = dict[str, int]


@dataclass(slots=True)
class Tally:
    """What a campaign has come to so far."""

    first_seed: int = 0
    next_seed: int = 0  # all before it are in here
    ahead: list[int] = field(default_factory=list)  # and so are these behind it, in order: another one takes its time
    real_s: float = 0.0
    virtual_ms: int = 0
    events: int = 0
    scenarios: Counts = field(default_factory=dict)  # runs by name; those of `simulate` as one
    faults: Counts = field(default_factory=dict)
    effects: Counts = field(default_factory=dict)
    operations: Counts = field(default_factory=dict)
    situations: Counts = field(default_factory=dict)
    verdicts: Counts = field(default_factory=dict)  # "log ok", "topics unknown" and so on
    failures: list[str] = field(default_factory=list)  # scenario, seed, and why
    unknown: list[str] = field(default_factory=list)  # runs of which a checker gave up, and nothing else was found

    @property
    def seeds(self) -> int:
        return self.next_seed - self.first_seed + len(self.ahead)

    def lacks(self, seed: int) -> bool:
        return seed >= self.next_seed and seed not in self.ahead

    def add(self, report: RunReport) -> None:
        """A run of a seed that is not in here yet."""
        assert self.lacks(report.seed)
        insort(self.ahead, report.seed)
        while self.ahead and self.ahead[0] == self.next_seed:
            self.next_seed += 1
            del self.ahead[0]
        self.virtual_ms += report.virtual_ms
        self.events += report.callbacks
        _count(self.scenarios, {report.scenario.partition(":")[0]: 1})
        _count(self.faults, report.fault_kinds)
        _count(self.effects, report.faults)
        _count(self.operations, report.operations)
        _count(self.situations, report.situations)
        for each in report.verdicts:
            _count(self.verdicts, {f"{each.checker} {each.word}": 1})
        name = f"{report.scenario} seed {report.seed}"
        if not report.ok:
            self.failures.append(f"{name}: {report.error.splitlines()[0][:300]}")
        elif report.unknown:
            self.unknown.append(f"{name}: {report.unknown[0].splitlines()[0][:300]}")

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    def never_met(self) -> list[str]:
        return [name for name in SITUATIONS if name not in self.situations]

    def lines(self) -> list[str]:
        """The report, as Markdown."""
        hours = self.virtual_ms / 3_600_000
        return [
            f"{self.seeds:,} seeds from {self.first_seed} on, {hours:,.1f} virtual hours, {self.events:,} events, "
            f"{self.real_s / 3600:.2f} real hours, {len(self.failures)} failures, {len(self.unknown)} unknown",
            "",
            *(f"- {failure}" for failure in self.failures),
            *(f"- unknown: {run}" for run in self.unknown),
            *([""] if self.failures or self.unknown else []),
            f"Runs: {_told(self.scenarios)}.",
            f"Operations: {_told(self.operations)}.",
            f"Verdicts: {_told(self.verdicts)}.",
            f"What faults did: {_told(self.effects)}.",
            "",
            *_table("fault", {kind.name: kind.about for kind in KINDS}, self.faults),
            "",
            f"{len(SITUATIONS) - len(self.never_met())} of {len(SITUATIONS)} situations were met.",
            "",
            *_table("situation", SITUATIONS, self.situations),
        ]


def tally_from_json(text: str) -> Tally:
    """Raises `ValueError` or `TypeError` where it is none."""
    return Tally(**json.loads(text))


def _count(counts: Counts, more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _told(counts: Counts) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def _table(title: str, names: Mapping[str, str], counts: Counts) -> list[str]:
    """A row for every name, in its order; those that never happened say so."""

    def times(name: str) -> str:
        return f"{counts[name]:,}" if name in counts else "never"

    rows = [f"| `{name}` | {about} | {times(name)} |" for name, about in names.items()]
    return [f"| {title} | what it is | times |", "|---|---|---:|", *rows]
