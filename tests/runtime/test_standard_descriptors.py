"""Programs that are started without standard input, output or error."""

import subprocess
import sys

import pytest

SDK = """
import sys
from kraftpy import Admin
from kraftpy.errors import NoBrokersAvailableError
try:
    with Admin("127.0.0.1:1") as admin:
        admin.list_topics(timeout=0.2)
except NoBrokersAvailableError:
    sys.exit(7)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_program_without_a_standard_stream_ends_as_it_would(closed: str) -> None:
    listing = ("-m", "kraftpy", "topic", "list", "--timeout", "0.2", "-b", "127.0.0.1:1")
    for arguments, code in ((("-c", SDK), 7), (listing, 3)):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, *arguments]
        assert subprocess.run(command, timeout=60).returncode == code
