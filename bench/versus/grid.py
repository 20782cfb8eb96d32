"""The grid: many ways to produce and to consume, each for a few seconds, ours and theirs; shown as heat maps.

| map | rows | columns |
|---|---|---|
| produce | acks × compression | batch size, and one record at a time (synchronous) |
| partitions | acks | 1 to 12 partitions, produced to |
| consume | 1 to 6 consumers | 1 to 12 partitions |

All combinations of the first are 48 cells, of the second 12, of the third 16. With `CELL_S` seconds a cell that makes
about 8 minutes a contender and round. Kafka is at its default, which does not flush; what is produced is compared with
ours flushed, our default, and relaxed to the same promise (a reader does not feel the difference).
"""

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from bench.versus import consuming, producing
from bench.versus.contenders import Contender
from bench.versus.stage import Stage

NODES = 3
CELL_S = 3.0
RECORD_BYTES = 1_000
ACKS = ("0", "1", "all")
BATCH_BYTES = (16_384, 131_072, 1_000_000)
COMPRESSIONS = ("none", "lz4", "zstd", "gzip")
PARTITIONS = (1, 3, 6, 12)
CONSUMERS = (1, 2, 3, 6)
READ_RECORDS = 500_000

SYNCHRONOUS = "sync"
UNITS = {"produce": "records/s", "partitions": "records/s", "consume": "MB/s"}
"""The maps, in the order of the report."""

CONTENDERS = (Contender.THEIRS, Contender.OURS, Contender.OURS_RELAXED)
COMPARED = (
    ("produce", Contender.OURS),
    ("produce", Contender.OURS_RELAXED),
    ("partitions", Contender.OURS),
    ("partitions", Contender.OURS_RELAXED),
    ("consume", Contender.OURS),
)
"""Each map, and which of ours it holds against theirs, in the order of the report."""

Cells = Mapping[str, float]
"""Records or MB a second by the cell's name; one that failed is not there."""

Rounds = Mapping[tuple[int, str], Cells]
"""By round and contender."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Where it is shown, and how it is taken."""

    map: str
    row: str
    column: str

    @property
    def name(self) -> str:
        return f"{self.map} | {self.row} | {self.column}"


def produced() -> Iterator[tuple[Cell, dict[str, object], int, bool]]:
    """Cells with the producer's settings, the partitions, and whether it is synchronous."""
    for acks in ACKS:
        for compression in COMPRESSIONS:
            row = f"acks={acks}, {compression}"
            for size in BATCH_BYTES:
                settings: dict[str, object] = {"acks": acks, "batch.size": size, "compression.type": compression}
                yield Cell("produce", row, f"{size:,} B"), settings, producing.PARTITIONS, False
            settings = {"acks": acks, "compression.type": compression, "linger.ms": 0}
            yield Cell("produce", row, SYNCHRONOUS), settings, producing.PARTITIONS, True
        for partitions in PARTITIONS:
            yield Cell("partitions", f"acks={acks}", str(partitions)), {"acks": acks}, partitions, False


def consumed() -> Iterator[tuple[Cell, int, int]]:
    """Cells with partitions and consumers."""
    for consumers in CONSUMERS:
        for partitions in PARTITIONS:
            yield Cell("consume", str(consumers), str(partitions)), partitions, consumers


def cells() -> list[Cell]:
    """All of them, in the order of the maps."""
    made = [*(cell for cell, _, _, _ in produced()), *(cell for cell, _, _ in consumed())]
    return sorted(made, key=lambda cell: list(UNITS).index(cell.map))


def of_map(name: str) -> list[Cell]:
    return [cell for cell in cells() if cell.map == name]


def measure(stage: Stage, told: Callable[[str], None]) -> Cells:
    """All cells that the contender is compared in, on a running cluster; `told` hears of each."""
    found: dict[str, float] = {}
    every = [
        *(
            (cell, partial(_produce, stage, settings, partitions, synchronous))
            for cell, settings, partitions, synchronous in produced()
        ),
        *((cell, partial(_consume, stage, partitions, consumers)) for cell, partitions, consumers in consumed()),
    ]
    tasks = [
        (cell, take) for cell, take in every if stage.contender.is_kafka or (cell.map, stage.contender) in COMPARED
    ]
    for number, (cell, take) in enumerate(tasks, start=1):
        try:
            found[cell.name] = take()
            told(f"{number} of {len(tasks)}: {cell.name}: {found[cell.name]:,.0f} {UNITS[cell.map]}")
        except Exception as error:  # whatever it is, the cell is empty
            told(f"{number} of {len(tasks)}: {cell.name} failed: {error}")
    return found


def _produce(stage: Stage, settings: Mapping[str, object], partitions: int, synchronous: bool) -> float:
    topic = stage.topic(partitions)
    stage.settle()
    found = stage.run(
        "rdkafka_produce",
        topic=topic,
        settings={"bootstrap.servers": stage.bootstrap, **settings},
        record_bytes=RECORD_BYTES,
        seconds=stage.seconds(CELL_S, 0.3),
        sync=synchronous,
    )
    stage.drop(topic)
    return float(found["records"] / found["seconds"])


def _consume(stage: Stage, partitions: int, consumers: int) -> float:
    return consuming.group(stage, READ_RECORDS, RECORD_BYTES, partitions, consumers)["MB/s"]


def figures(cell: Cell, who: Contender, found: Rounds) -> list[float]:
    """What each round found."""
    return [
        cells[cell.name]
        for (_, contender), cells in sorted(found.items())
        if contender == who.value and cell.name in cells
    ]


def ratios(cell: Cell, ours: Contender, found: Rounds) -> list[float]:
    """Ours : theirs of each round that has both."""
    return [
        mine[cell.name] / theirs[cell.name]
        for (number, who), mine in sorted(found.items())
        if who == ours.value
        and cell.name in mine
        and (theirs := found.get((number, Contender.THEIRS.value), {})).get(cell.name)
    ]


def ratio(cell: Cell, ours: Contender, found: Rounds) -> float | None:
    """Their median; None where no round has both."""
    each = ratios(cell, ours, found)
    return statistics.median(each) if each else None
