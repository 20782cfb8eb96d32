"""How much memory a process holds, from outside."""

import subprocess
from pathlib import Path


def anonymous_kib(pid: int) -> int:
    """What the process holds beyond files (RssAnon); where the system does not tell, everything resident."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon:"))
        return int(line.split()[1])
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True).stdout)


def open_files(pid: int) -> int:
    """How many descriptors the process holds; Linux only."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
