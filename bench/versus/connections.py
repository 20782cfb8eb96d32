"""Many connections: what is left of the throughput of eight when five hundred send, and a thousand more do nothing."""

from bench.versus.rows import Figures
from bench.versus.stage import Stage

PARTITIONS = 6
FEW = 8
BUSY = 500
IDLE = 1_000
REQUEST_BYTES = 16_000


def many(stage: Stage) -> Figures:
    topic = stage.topic(PARTITIONS)
    few = _requests_per_s(stage, topic, FEW, 0)
    full = _requests_per_s(stage, topic, stage.some(BUSY, least=20), stage.some(IDLE, least=20))
    return {"few, requests/s": few, "requests/s": full, "kept": full / few}


def _requests_per_s(stage: Stage, topic: str, busy: int, idle: int) -> float:
    stage.settle()
    found = stage.run(
        "busy_connections",
        bootstrap=stage.bootstrap,
        topic=topic,
        partitions=PARTITIONS,
        busy=busy,
        idle=idle,
        warm_s=stage.seconds(5.0),
        seconds=stage.seconds(10.0),
        request_bytes=REQUEST_BYTES,
    )
    return float(found["requests_per_s"])
