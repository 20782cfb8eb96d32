"""The result: kept as JSON beside what is installed, shown as the matrix of docs/compatibility.md.

A run adds to what earlier runs against the same kind of cluster found, case by case, so that one client can be tried
again. The document's section for a kind of cluster lies between `<!-- matrix KIND -->` and `<!-- /matrix KIND -->`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.compatibility.capabilities import CAPABILITIES
from tests.compatibility.case import Case, Client, Outcome, Verdict

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"
_CELLS = {
    Verdict.PASSED.value: "yes",
    Verdict.FAILED.value: "**no**",
    Verdict.ABSENT.value: "–",
    Verdict.NOT_RUN.value: "not run",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What is kept of an outcome."""

    verdict: str
    note: str
    date: str
    cluster: str
    kills: bool


Results = dict[tuple[str, str], Found]
"""By client and capability."""


def load(path: Path) -> Results:
    if not path.exists():
        return {}
    return {(row["client"], row["capability"]): Found(**row["found"]) for row in json.loads(path.read_text())}


def save(path: Path, results: Results) -> None:
    rows = [
        {
            "client": client,
            "capability": capability,
            "found": {name: getattr(found, name) for name in Found.__slots__},
        }
        for (client, capability), found in results.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1))


def add(results: Results, outcome: Outcome, *, date: str, cluster: str, kills: bool) -> None:
    key = (outcome.case.client, outcome.case.capability)
    results[key] = Found(outcome.verdict.value, outcome.note, date, cluster, kills)


def render(results: Mapping[tuple[str, str], Found], clients: Sequence[Client]) -> str:
    """Markdown: libraries by capabilities, a table for every other client, and what failed."""
    shown = {key: found for key, found in results.items() if key in {(c.client, c.capability) for c in _cases(clients)}}
    lines = [_summary(shown), "", *_libraries(shown, [client for client in clients if client.is_library])]
    for client in clients:
        if not client.is_library and any(name == client.name for name, _ in shown):
            lines += ["", *_table(shown, client)]
    lines += _remarks(shown, clients)
    return "\n".join(lines)


def write(document: Path, kind: str, rendered: str) -> None:
    """Put it between the markers. Raises `ValueError` where the document lacks them."""
    text = document.read_text()
    begin, end = f"<!-- matrix {kind} -->", f"<!-- /matrix {kind} -->"
    if begin not in text or end not in text:
        raise ValueError(f"{document.name} lacks the markers {begin} and {end}")
    before, after = text.split(begin)[0], text.split(end)[1]
    document.write_text(f"{before}{begin}\n\n{rendered}\n\n{end}{after}")


def _summary(results: Mapping[tuple[str, str], Found]) -> str:
    counts = {verdict: sum(found.verdict == verdict.value for found in results.values()) for verdict in Verdict}
    runs = sorted({(found.date, found.cluster) for found in results.values()})
    clusters = ", ".join(sorted({cluster for _, cluster in runs}))
    dates = " and ".join(dict.fromkeys([runs[0][0], runs[-1][0]])) if runs else "never"
    tried = (Verdict.PASSED.value, Verdict.FAILED.value)
    kills = sum(found.kills and found.verdict in tried for found in results.values())
    hurt = f"; {kills} of them while leaders were killed" if kills else ""
    return (
        f"{clusters}, three nodes, {dates}: {counts[Verdict.PASSED]} cases passed, {counts[Verdict.FAILED]} failed, "
        f"{counts[Verdict.NOT_RUN]} not run{hurt}."
    )


def _libraries(results: Mapping[tuple[str, str], Found], clients: Iterable[Client]) -> list[str]:
    titles = [capability.title for capability in CAPABILITIES]
    rows = [
        [client.name, *[_cell(results.get((client.name, capability.name))) for capability in CAPABILITIES]]
        for client in clients
        if any(name == client.name for name, _ in results)
    ]
    return _markdown(["client", *titles], rows)


def _table(results: Mapping[tuple[str, str], Found], client: Client) -> list[str]:
    rows = [
        [case.capability, case.how, case.expected, _cell(results.get((client.name, case.capability)))]
        for case in client.cases
    ]
    return _markdown([client.name, "what is done", "what is expected", "works"], rows)


def _remarks(results: Mapping[tuple[str, str], Found], clients: Sequence[Client]) -> list[str]:
    """A line for every cell that is neither plain yes nor plain no."""
    lines = []
    for case in _cases(clients):
        found = results.get((case.client, case.capability))
        if found is not None and found.note:
            lines.append(f"- {case.client}, {case.capability} ({found.verdict}): {_escaped(found.note)}")
    return ["", "Remarks:", "", *lines] if lines else []


def _cases(clients: Iterable[Client]) -> list[Case]:
    return [case for client in clients for case in client.cases]


def _cell(found: Found | None) -> str:
    return "" if found is None else _CELLS[found.verdict]


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *["| " + " | ".join(map(_escaped, row)) + " |" for row in rows],
    ]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
