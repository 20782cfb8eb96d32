"""A short share of `make fuzz`, with every API and version in it."""

import asyncio

from tests.kafka.fuzz import Fuzzer, coverage, peak_mib

FRAMES = 15_000


def test_every_api_and_version_stands_what_is_thrown_at_it() -> None:
    fuzzer = Fuzzer(20_261_121)
    before_mib = peak_mib()
    asyncio.run(fuzzer.run(FRAMES))
    assert peak_mib() - before_mib < 100
    rows = coverage(fuzzer.table, fuzzer.apis)
    assert all(sum(row[2:]) for row in rows), "a version was left out: more frames are needed"
    for key in {row[0] for row in rows}:
        answered, _, refused = (sum(row[column] for row in rows if row[0] == key) for column in (2, 3, 4))
        assert answered and refused, key
