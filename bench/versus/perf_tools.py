"""Kafka's own perf tools: their arguments, and what they print.

MB here are 10⁶ bytes and theirs 2²⁰, so what is read are records.
ProducerPerformance ends with a line like

    5000 records sent, 4347.8 records/sec (4.15 MB/sec), 12.3 ms avg latency, 300.0 ms max latency, 5 ms 50th, …

ConsumerPerformance prints a line of names and one of values, apart by commas; the time in which it joined its group is
apart in them, and what is used here is without it. EndToEndLatency prints percentiles in whole ms.
"""

import re

SENT = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec", re.MULTILINE)
PERCENTILES = re.compile(r"Percentiles: 50th = (\d+), 99th = (\d+), 99\.9th = (\d+)")
READ_NAMES = "start.time"


class NotUnderstoodError(Exception):
    """A tool printed something else than it should; the message holds the end of it."""


def records_per_s(printed: str, expected: int) -> float:
    """ProducerPerformance's, over all of its records."""
    totals = [(int(count), float(rate)) for count, rate in SENT.findall(printed)]
    if not totals or totals[-1][0] != expected:
        raise NotUnderstoodError(f"not {expected} records in: {printed[-300:]!r}")
    return totals[-1][1]


def fetched_per_s(printed: str, expected: int) -> float:
    """ConsumerPerformance's records a second, from the end of the rebalance on. It may have read a few more."""
    lines = [line.split(", ") for line in printed.splitlines()]
    names = next((line for line in lines if line[0] == READ_NAMES), None)
    values = next((line for line in lines if names and len(line) == len(names) and line[0][:2] == "20"), None)
    if names is None or values is None:
        raise NotUnderstoodError(f"no table in: {printed[-300:]!r}")
    found = dict(zip(names, values, strict=True))
    if int(found["data.consumed.in.nMsg"]) < expected:
        raise NotUnderstoodError(f"{found['data.consumed.in.nMsg']} of {expected} records were read")
    return float(found["fetch.nMsg.sec"])


def percentiles_ms(printed: str) -> dict[str, float]:
    """EndToEndLatency's."""
    found = PERCENTILES.search(printed)
    if found is None:
        raise NotUnderstoodError(f"no percentiles in: {printed[-300:]!r}")
    return dict(zip(("p50", "p99", "p99.9"), map(float, found.groups()), strict=True))


def producing(bootstrap: str, topic: str, records: int, record_bytes: int, throughput: int = -1) -> list[str]:
    """Arguments of ProducerPerformance; `throughput` is its limit in records a second."""
    return [
        *("--topic", topic, "--num-records", str(records), "--record-size", str(record_bytes)),
        *("--throughput", str(throughput), "--bootstrap-server", bootstrap, "--command-property", "acks=all"),
    ]


def consuming(bootstrap: str, topic: str, records: int, group: str) -> list[str]:
    """Arguments of ConsumerPerformance."""
    asked = ("--num-records", str(records), "--timeout", "60000")
    return ["--bootstrap-server", bootstrap, "--topic", topic, "--group", group, *asked]
