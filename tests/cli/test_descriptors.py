"""How many files a node may open: it takes what it can get, and says where that is little."""

import resource
import subprocess
import sys

SCRIPT = """
import resource
from cli.descriptors import raise_limit
print(raise_limit(5_000))
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def run_limited(soft: int, hard: int) -> list[str]:
    limits = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
    done = subprocess.run([sys.executable, "-c", limits + SCRIPT], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_the_limit_is_raised_to_what_the_system_allows() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = 8_000 if hard == resource.RLIM_INFINITY else min(hard, 8_000)
    warning, limit = run_limited(256, allowed)
    assert int(limit) == allowed
    assert (warning == "None") == (allowed >= 6_000)


def test_a_limit_that_connections_can_use_up_is_said() -> None:
    warning, limit = run_limited(256, 900)
    assert int(limit) == 900
    assert warning.startswith("this process may open 900 files; connections can use 5000") and "6000 or more" in warning


def test_segments_stay_open_as_far_as_the_limit_reaches() -> None:
    """What connections leave, five descriptors each, shared by the log directories; never too few to work with."""
    script = "from cli.descriptors import open_segments\nprint(open_segments(1_000, 1), open_segments(1_000, 4))"
    for limit, expected in ((1_024, "50 50"), (6_250, "1000 250")):
        limits = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        done = subprocess.run([sys.executable, "-c", limits + script], check=True, capture_output=True, text=True)
        assert done.stdout.strip() == expected
