"""What a node prints: a line an event, for people (`plain`) or as JSON for machines (`json`), on stderr.

    2026-11-21 06:12:01.034 INFO  node 1  broker.server: in service, epoch 17
    {"time": "2026-11-21T06:12:01.034+00:00", "level": "INFO", "node": 1, "logger": "broker.server", "message": "…"}

Times are the wall's; plain ones local, JSON ones UTC.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO


class _PlainFormatter(logging.Formatter):
    def __init__(self, node_id: int) -> None:
        super().__init__(
            f"%(asctime)s.%(msecs)03d %(levelname)-7s node {node_id}  %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S"
        )


class _JsonFormatter(logging.Formatter):
    def __init__(self, node_id: int) -> None:
        super().__init__()
        self._node_id = node_id

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "node": self._node_id,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(
    node_id: int, *, line_format: str = "plain", level: str = "INFO", stream: TextIO | None = None
) -> None:
    """Send this process's log to `stream` (stderr) in one of the two forms. Replaces what was configured before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter(node_id) if line_format == "json" else _PlainFormatter(node_id))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
