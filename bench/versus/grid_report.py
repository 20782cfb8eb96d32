"""The grid in figures, as markdown: each map, and every cell in which ours is the slower. Pure."""

import statistics
from collections.abc import Iterator, Sequence

from bench.versus import grid, report
from bench.versus.contenders import Contender
from bench.versus.kept import Kept


def markdown(found: Kept, command: str, plots: Sequence[tuple[str, str]] = ()) -> str:
    """`plots` are captions and paths, as the document links to them."""
    shown = [*maps(found), "", report.disk_line(found), "", report.MEMORY_LINE, "", *slower(found)]
    return report.page(command, found, shown, plots)


def maps(found: Kept) -> Iterator[str]:
    """A line each: how many cells it has, the medians of their ratios, how many are below 1 or were not found."""
    yield "| map | ours | cells | least | median | most | below 1 | not found |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for name, ours in grid.COMPARED:
        every = [grid.ratio(cell, ours, found.grid) for cell in grid.of_map(name)]
        medians = [each for each in every if each is not None]
        figures = [f"{of(medians):.2f}" if medians else "" for of in (min, statistics.median, max)]
        counts = [len(every), sum(each < 1 for each in medians), len(every) - len(medians)]
        cells, below, missing = map(str, counts)
        yield report.line([name, ours.value, cells, *figures, below, missing])


def slower(found: Kept) -> Iterator[str]:
    """A line for each cell whose median is below 1, with the spread of its rounds."""
    yield "| cells below 1 | contender | theirs | ours | unit | ratio |"
    yield "|---|---|---:|---:|---|---:|"
    for name, ours in grid.COMPARED:
        for cell in grid.of_map(name):
            ratio = grid.ratio(cell, ours, found.grid)
            if ratio is None or ratio >= 1:
                continue
            figures = (grid.figures(cell, who, found.grid) for who in (Contender.THEIRS, ours))
            ratios = report.spread(grid.ratios(cell, ours, found.grid), digits=2)
            label = f"{cell.map}: {cell.row}, {cell.column}"
            yield report.line([label, ours.value, *map(report.spread, figures), grid.UNITS[name], ratios])
