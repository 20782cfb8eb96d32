"""A soak as a table and as a plot."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.soak.judging import Finding
from bench.soak.watch import Sample

PANELS = (
    ("RssAnon, MB", "memory_mb"),
    ("open files", "files"),
    ("logs, MB", "disk_mb"),
)


def table(how: str, findings: Sequence[Finding], elected: Sequence[str]) -> str:
    return "\n".join(_lines(how, findings, elected))


def _lines(how: str, findings: Sequence[Finding], elected: Sequence[str]) -> Iterator[str]:
    yield how
    yield ""
    yield "| the most of a node, medians | first quarter | last quarter | at most in all | flat |"
    yield "|---|---:|---:|---:|---|"
    for each in findings:
        unit = f" {each.unit}" if each.unit else ""
        flat = "yes" if each.is_flat else f"**no**: more than {each.limit:,.0f}{unit}"
        yield f"| {each.name} | {each.first:,.4g}{unit} | {each.last:,.4g}{unit} | {each.most:,.4g}{unit} | {flat} |"
    yield ""
    yield f"Elections that nothing called for: {len(elected) or 'none'}." + "".join(f"\n- {each}" for each in elected)


def plot(path: Path, samples: Sequence[Sample]) -> None:
    """One panel a figure, a line a node, over minutes."""
    import matplotlib
    from matplotlib import pyplot

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "kraftpy", "font.size": 9, "svg.fonttype": "none"})
    minutes = [sample.at_s / 60 for sample in samples]
    figure, panels = pyplot.subplots(len(PANELS) + 1, 1, figsize=(9, 8), sharex=True)
    for axes, (label, field) in zip(panels, PANELS, strict=False):
        for node, line in enumerate(zip(*(getattr(sample, field) for sample in samples), strict=True), start=1):
            axes.plot(minutes, line, linewidth=1, label=f"node {node}")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    panels[0].legend(ncols=3)
    for name in ("p50", "p99", "max"):
        panels[-1].plot(minutes, [sample.waits.get(name) for sample in samples], linewidth=1, label=name)
    panels[-1].set_ylabel("end to end, ms")
    panels[-1].set_yscale("log")
    panels[-1].set_xlabel("minutes")
    panels[-1].legend(ncols=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
