"""The demo's result: a short table for people, an object for programs. Pure."""

from dataclasses import dataclass
from typing import Any

from cli.demo.ledger import Verdict


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the demo found out."""

    sent: int
    acknowledged: int
    acknowledged_bytes: int
    seconds: float
    longest_wait_s: float
    in_sync_s: float
    read_back: Verdict
    followed: Verdict
    """What the consumer saw that read all the while."""

    @property
    def clean(self) -> bool:
        """Something was acknowledged, and nothing of it lost, duplicated or reordered, to neither reader."""
        return self.acknowledged > 0 and self.read_back.clean and self.followed.clean

    @property
    def megabytes_per_second(self) -> float:
        return self.acknowledged_bytes / 1e6 / self.seconds if self.seconds else 0.0


def fields_of(outcome: Outcome) -> dict[str, Any]:
    """The table's numbers under their names. Of lost, duplicated and so on the worse of both readings counts."""
    fields: dict[str, Any] = {
        "sent": outcome.sent,
        "acknowledged": outcome.acknowledged,
        "read": outcome.read_back.read,
    }
    for name in ("lost", "duplicated", "out_of_order", "damaged", "foreign"):
        worse = max(getattr(outcome.read_back, name), getattr(outcome.followed, name))
        if worse or name in ("lost", "duplicated", "out_of_order"):
            fields[name] = worse
    return {
        **fields,
        "megabytes_per_second": round(outcome.megabytes_per_second, 1),
        "longest_wait_seconds": round(outcome.longest_wait_s, 2),
        "seconds_until_in_sync": round(outcome.in_sync_s, 1),
    }


_TITLES = {
    "megabytes_per_second": "MB/s",
    "longest_wait_seconds": "longest wait of a record",
    "seconds_until_in_sync": "fully in sync after",
}
_UNITS = {"longest_wait_seconds": " s", "seconds_until_in_sync": " s"}


def table_of(outcome: Outcome) -> str:
    """The table, with the first findings below it where there are any."""
    rows = [
        (_TITLES.get(name, name.replace("_", " ")), f"{value:,}{_UNITS.get(name, '')}")
        for name, value in fields_of(outcome).items()
    ]
    left, right = (max(len(row[side]) for row in rows) for side in (0, 1))
    lines = [f"  {title:<{left}}  {value:>{right}}" for title, value in rows]
    for reader, verdict in (("read back", outcome.read_back), ("read meanwhile", outcome.followed)):
        lines += [f"  {reader}: {example}" for example in verdict.examples]
    return "\n".join(lines)


def sentence_of(outcome: Outcome) -> str:
    if outcome.clean:
        return "Nothing was lost, duplicated or reordered."
    if not outcome.acknowledged:
        return "NOT CLEAN: nothing was acknowledged."
    return "NOT CLEAN: what was acknowledged did not come back as it was sent."
