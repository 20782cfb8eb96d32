"""What this process holds in memory beyond files."""

from pathlib import Path


def anonymous_bytes() -> int | None:
    """RssAnon; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return None
