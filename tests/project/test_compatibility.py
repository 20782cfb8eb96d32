"""docs/compatibility.md says what the code does where it differs from Kafka."""

from dataclasses import replace

import pytest

from broker.kafka.api import MIB, ApiKey
from broker.kafka.wire import ELEMENTS_MAX
from kraftpy.errors import InvalidRecordError
from kraftpy.record import Compression, Record, encode_batch
from kraftpy.record.header import HEADER_BYTES, seal
from kraftpy.record.reader import ITEMS_MAX
from kraftpy.runtime.framed_config import FramedConfig
from log_store.config import LogConfig
from log_store.recompression import recompressed
from log_store.validation import check_produced
from tests.kafka.tables import APIS
from tests.tools.generate_compatibility import DOCUMENT

TEXT = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
ABSENT = {*range(38, 42), 76, 77, 78, 79, 88, 89}
"""Delegation tokens, share groups, Streams groups."""


def test_the_bounds_are_the_codes() -> None:
    network = FramedConfig()
    (request_bytes_max,) = {api.request_bytes_max for api in APIS if api.key != ApiKey.PRODUCE}
    for bound in (
        f"{network.connections_per_address_max:,} connections from one address (`max.connections.per.ip`)",
        f"{network.connections_max:,} in all (`max.connections`)",
        f"{request_bytes_max // MIB} MiB for any request but Produce",
        f"{ELEMENTS_MAX:,} elements in all arrays of a request",
        f"{ITEMS_MAX:,} records and headers together",
    ):
        assert bound in TEXT, bound


def test_what_is_said_to_be_absent_is_absent() -> None:
    assert not ABSENT & {int(key) for key in ApiKey}
    for name in ("KIP-932", "KIP-1071", "delegation tokens (38–41)"):
        assert name in TEXT, name


def broken(compression: Compression) -> bytearray:
    """A batch with the right checksum, of what are no records."""
    batch = bytearray(encode_batch([Record(0, 1, b"k", b"v" * 99, ())], compression=compression))
    batch[HEADER_BYTES:] = b"\xff" * (len(batch) - HEADER_BYTES)
    seal(batch, 0, len(batch))
    return batch


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_records_are_not_opened_but_where_it_is_said(compression: Compression) -> None:
    assert "are not opened" in TEXT
    batch, plain = broken(compression), LogConfig()
    accepted = check_produced(batch, plain, 1)
    assert len(accepted) == 1
    with pytest.raises(InvalidRecordError):
        check_produced(batch, replace(plain, cleanup_policy="compact"), 1)
    other = replace(plain, compression_type="zstd")
    if compression is Compression.NONE:
        assert recompressed(batch, accepted, other)
    else:
        with pytest.raises(InvalidRecordError):
            recompressed(batch, accepted, other)
