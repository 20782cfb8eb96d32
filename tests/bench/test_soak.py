"""What of a soak counts as flat."""

import pytest

from bench.soak import telling
from bench.soak.judging import elections, judged
from bench.soak.watch import Sample


def sample(at_s: float, memory_mb: float = 60.0, files: int = 40, p99: float = 12.0, epoch: int = 3) -> Sample:
    waits = {"p50": 3.0, "p99": p99, "max": 40.0}
    return Sample(at_s, [50.0, memory_mb], [files, 30], [800.0, 790.0], {"the quorum": epoch, "flow-0": 1}, waits)


def names_of_what_grew(samples: list[Sample]) -> list[str]:
    return [each.name for each in judged(samples) if not each.is_flat]


def test_what_stays_is_flat_whatever_the_first_tenth_and_one_stall_say() -> None:
    samples = [
        sample(float(at), memory_mb=20.0 if at < 10 else 60.0 + at % 3, p99=900.0 if at == 95 else 12.0)
        for at in range(100)
    ]
    assert names_of_what_grew(samples) == []
    assert "| end to end, p99 | 12 ms | 12 ms | 900 ms | yes |" in telling.table("how", judged(samples), [])


def test_what_grows_is_named() -> None:
    leak = [sample(float(at), memory_mb=60.0 + at / 4, files=40 + at // 2, p99=12.0 + at / 5) for at in range(100)]
    assert names_of_what_grew(leak) == ["RssAnon of a node", "open files of a node", "end to end, p99"]
    assert "**no**: more than 72 MB" in telling.table("how", judged(leak), [])


def test_a_look_without_an_answer_of_the_reader_counts_for_the_rest() -> None:
    samples = [sample(float(at)) for at in range(100)]
    samples[-5].waits.clear()
    assert names_of_what_grew(samples) == []


def test_too_few_looks_are_no_judgement() -> None:
    with pytest.raises(ValueError, match="7 looks"):
        judged([sample(float(at)) for at in range(7)])


def test_every_election_between_two_looks_is_told() -> None:
    samples = [sample(0.0), sample(10.0), sample(20.0, epoch=5), sample(30.0, epoch=5)]
    assert list(elections(samples)) == ["the quorum: epoch 3 → 5, 20 s after the start"]
    shown = telling.table("how", [], list(elections(samples)))
    assert "called for: 1.\n- the quorum: epoch 3 → 5, 20 s after the start" in shown
