"""What is written: the same for a seed, of the right size, and as compressible as was asked for."""

import zlib

import pytest

from cli.bench.payload import POOL_BYTES_MIN, STAMP, stamp_in, stamped, values_of


@pytest.mark.parametrize("size", [1, 7, 100, 1_024, 100_000])
@pytest.mark.parametrize("compressible", [0.0, 0.3, 1.0])
def test_values_have_their_size_and_follow_from_the_seed(size: int, compressible: float) -> None:
    values = values_of(7, size, compressible)
    assert {len(value) for value in values} == {size}
    assert values == values_of(7, size, compressible)
    assert values != values_of(8, size, compressible)


def test_the_first_value_of_a_seed_never_changes() -> None:
    """Figures of two releases are of the same data."""
    words = b"time stock name event password m"
    noise = "9ff2c476ba3bb76c78161c25a36d296c8d2c075634d2442a14064b8282d23f96"
    assert values_of(0, 64, 0.5)[0] == words + bytes.fromhex(noise)


def test_the_pool_is_larger_than_a_batch() -> None:
    assert sum(map(len, values_of(0, 1_024, 0.5))) >= POOL_BYTES_MIN


def test_more_words_compress_better() -> None:
    sizes = [len(zlib.compress(b"".join(values_of(0, 1_024, share)[:100]))) for share in (0.0, 0.5, 1.0)]
    assert sizes[0] > 100 * 1_024 > sizes[1] > sizes[2]
    assert sizes[2] < 50 * 1_024


def test_a_stamp_is_read_back() -> None:
    value = stamped(2**63 + 5, -1, b"x" * 40)
    assert value[STAMP.size :] == b"x" * 24 and stamp_in(value) == (2**63 + 5, -1)
    assert stamp_in(b"short") is None and stamp_in(None) is None
