"""Seeds that failed once, kept by campaigns: each is run again with its plan, and passes since its cause was mended.

One whose cause is known and not mended says so under `open`, and fails until it is; then the test asks for the note to
be taken out.
"""

from pathlib import Path

import pytest

from simulation.campaign import KeptSeed, kept_from_json
from simulation.plan import plan_from_json
from simulation.scenario import run_scenario

SEEDS = {path.stem: kept_from_json(path.read_text()) for path in sorted(Path(__file__).parent.glob("seeds/*.json"))}


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_that_failed_once_passes(name: str, request: pytest.FixtureRequest) -> None:
    kept = SEEDS[name]
    if kept.open:
        request.applymarker(pytest.mark.xfail(reason=kept.open, strict=True))
    report = run_scenario(kept.scenario, kept.seed, plan_from_json(kept.plan))
    assert report.ok, f"\n{report}"


def test_a_kept_seed_is_a_value() -> None:
    kept = KeptSeed("simulate:nodes=3,minutes=1,workload=log,faults=all,rate=5", 7, "[]", "Refuted: log: lost")
    assert kept_from_json(kept.to_json()) == kept
    assert kept.file_name == "simulate-7.json"
