"""What the campaign has found so far, in a JSON file: of each bug how many seeds were tried, and what the last said."""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from tests.bugs.bug import ROOT, Bug
from tests.bugs.search import Tried

RESULTS = ROOT / "tests" / "bugs" / "results.json"
SAVE_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """Of one bug, as it was when `digest` was taken. `said` is empty until a check finds it, with the last seed."""

    digest: str
    tried: int = 0  # seeds, from the first that counts on
    said: str = ""

    @property
    def found(self) -> bool:
        return bool(self.said)


class Results:
    def __init__(self, path: Path, results: dict[str, Result]) -> None:
        self._path = path
        self._results = results
        self._lock = threading.Lock()
        self._saved_s = 0.0

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Those in the file, or none where there is no file."""
        kept = json.loads(path.read_text()) if path.exists() else {}
        return cls(path, {name: Result(**values) for name, values in kept.items()})

    @property
    def found(self) -> int:
        with self._lock:
            return sum(result.found for result in self._results.values())

    def of(self, bug: Bug) -> Result:
        """Nothing is known of a bug that is another one by now, or is looked for otherwise."""
        with self._lock:
            result = self._results.get(bug.name)
        return result if result is not None and result.digest == digest_of(bug) else Result(digest_of(bug))

    def note(self, bug: Bug, tried: Tried) -> None:
        with self._lock:
            self._results[bug.name] = Result(digest_of(bug), tried.seed + 1 - bug.counted_from, tried.said)
        if time.monotonic() - self._saved_s > SAVE_INTERVAL_S:
            self.save()

    def forget(self, bugs: Iterable[Bug]) -> None:
        with self._lock:
            for bug in bugs:
                self._results.pop(bug.name, None)

    def save(self) -> None:
        with self._lock:
            self._saved_s = time.monotonic()
            kept = {name: asdict(self._results[name]) for name in sorted(self._results)}
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
            part.replace(self._path)


def digest_of(bug: Bug) -> str:
    """Of all that decides what is found: not of the words about it."""
    parts = (bug.module, bug.function, bug.right, bug.wrong, repr(bug.finder), bug.verdict)
    return sha256("\0".join(parts).encode()).hexdigest()[:16]
