"""What is printed."""

from cli.bench.live import line_of
from cli.bench.report import rates, stretch_fields, table_of
from cli.bench.waits import Stretch


def test_units_stand_in_the_names_of_fields_and_behind_the_figures_of_the_table() -> None:
    fields = {
        "door": "grpc",
        "record_size_bytes": 1_024,
        "target_records_per_second": 500.0,
        "records_per_second": 1_234.5,
        "fetch_megabytes_per_second": None,
        "bytes": 5,
        "seconds": 2.5,
        "time_to_first_record_ms": 7.25,
        "out_of_order": 0,
        "end_to_end_ms": {"p50": 1.5, "p99.9": None},
        "interrupted": False,
    }
    lines = [line.split(maxsplit=5) for line in table_of(fields).splitlines()]
    assert [" ".join(line) for line in lines] == [
        "door grpc",
        "record size 1,024 B",
        "target rate 500.0 records/s",
        "rate 1,234.5 records/s",
        "fetch throughput -",
        "bytes 5 B",
        "seconds 2.5 s",
        "time to first record 7.25 ms",
        "out of order 0",
        "end to end p50 1.5 ms",
        "end to end p99.9 -",
        "interrupted no",
    ]


def test_rates_are_of_megabytes_of_a_million() -> None:
    assert rates(10, 5_000_000, 2.0) == {"records_per_second": 5.0, "megabytes_per_second": 2.5}
    assert rates(10, 10, 0.0) == {"records_per_second": None, "megabytes_per_second": None}


def test_a_stretch_is_told_in_seconds_of_the_run() -> None:
    assert stretch_fields(Stretch(1_500_000, 2_000_400, 500_500, 7, 1, frozenset((2, 0)))) == {
        "start_seconds": 1.5,
        "end_seconds": 2.0,
        "longest_wait_ms": 500.5,
        "records": 7,
        "failed": 1,
        "partitions": [0, 2],
    }


def test_the_live_line() -> None:
    assert line_of(3.04, 12_000, 4_000.4, 4.1e6) == "   3.0 s  12,000 records  4,000 records/s  4.1 MB/s"
