"""The plots, as SVG by matplotlib: ratios with their spread and targets, and the grid as heat maps."""

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot
from matplotlib.colors import TwoSlopeNorm
from matplotlib.ticker import LogLocator, NullFormatter

from bench.versus import grid
from bench.versus.contenders import Contender
from bench.versus.kept import Kept
from bench.versus.report import disk_by_round
from bench.versus.rounds import compare, is_met
from bench.versus.rows import Better, Measure

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "kraftpy", "font.size": 9, "svg.fonttype": "none"})

MET, MISSED, UNTARGETED = "#2a7f62", "#b3412e", "#555555"
ROW_INCHES = 0.28


def ratios(folder: Path, measures: Sequence[Measure], found: Kept) -> tuple[str, Path]:
    """Caption and file: one line a row, better to the right whatever its unit: theirs : ours where less is better."""
    lines = [
        (measure, row, compared)
        for measure in measures
        for row in measure.rows
        if (compared := compare(measure, row, found.results, disk_by_round(found))).ratios
    ]
    figure, axes = pyplot.subplots(figsize=(9, 1 + ROW_INCHES * len(lines)))
    for place, (_, row, compared) in enumerate(lines):
        shown = sorted(_better(ratio, row.better) for ratio in compared.ratios if ratio > 0)
        if not shown:
            continue
        met = is_met(row, compared)
        color = UNTARGETED if met is None else MET if met else MISSED
        axes.plot([shown[0], shown[-1]], [place, place], color=color, linewidth=1.5)
        axes.plot(statistics.median(shown), place, "o", color=color)
        if row.target is not None and not row.target.absolute:
            axes.plot(_better(row.target.limit, row.better), place, "|", color="black", markersize=12)
    axes.axvline(1.0, color="#999999", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(lines)), [row.label for _, row, _ in lines])
    axes.invert_yaxis()
    axes.set_xlabel("times as good as Apache Kafka: median, least to most; the stroke is the target")
    axes.grid(axis="x", which="both", linewidth=0.3)
    return "Ratios of ours to theirs", _saved(figure, folder / "versus-ratios.svg")


def heat_maps(folder: Path, found: Kept) -> Iterator[tuple[str, Path]]:
    """Caption and file of each map of the grid."""
    for name, ours in grid.COMPARED:
        path = folder / f"versus-grid-{name}-{ours.value}.svg"
        yield f"Ratios of {ours.value} to theirs, grid: {name}", _heat_map(path, name, ours, found)


def _heat_map(path: Path, name: str, ours: Contender, found: Kept) -> Path:
    """The median of the rounds' ratios in each cell; a cell that nobody has is empty."""
    wanted = grid.of_map(name)
    rows, columns = (list(dict.fromkeys(getattr(cell, side) for cell in wanted)) for side in ("row", "column"))
    medians = [[grid.ratio(grid.Cell(name, row, column), ours, found.grid) for column in columns] for row in rows]
    exponents = [[math.nan if each is None else math.log2(each) for each in line] for line in medians]
    figure, axes = pyplot.subplots(figsize=(2.5 + 0.9 * len(columns), 1.5 + 0.35 * len(rows)))
    axes.imshow(exponents, cmap="RdYlGn", norm=TwoSlopeNorm(0.0, -2.0, 2.0), aspect="auto")
    for y, line in enumerate(medians):
        for x, each in enumerate(line):
            axes.text(x, y, "–" if each is None else f"{each:.2f}", ha="center", va="center")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(AXES[name][1])
    axes.set_ylabel(AXES[name][0])
    axes.set_title(f"{name}: {ours.value} : theirs, {grid.UNITS[name]}")
    return _saved(figure, path)


AXES = {
    "produce": ("acks, compression", "batch size; one record at a time"),
    "partitions": ("acks", "partitions"),
    "consume": ("consumers in the group", "partitions"),
}


def _better(ratio: float, better: Better) -> float:
    return ratio if better is Better.HIGHER else 1 / ratio


def _saved(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    return path
