"""Looks for one bug, seed by seed, in the process that it was started in:

    python -m tests.bugs.find NAME [--first N] [--seeds COUNT]

in a copy of the sources that has the bug (`search.look_for` starts it there). Prints a line of JSON for each seed that
was tried, {"seed": 7, "said": ""}, and ends with the first that finds something.
"""

import argparse
import json
import re
import sys

from tests.bugs.catalogue import BUGS
from tests.bugs.finders import find

SAID_MAX = 300


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bugs.find")
    parser.add_argument("name", choices=sorted(BUGS))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args(arguments)
    bug = BUGS[options.name]
    for seed in range(options.first, options.first + options.seeds):
        said = find(bug, seed)
        found = bool(said) and re.search(bug.verdict, said, re.DOTALL) is not None
        print(json.dumps({"seed": seed, "said": in_one_line(said) if found else ""}), flush=True)
        if found:
            break
    return 0


def in_one_line(said: str) -> str:
    """The first thing that is said, behind the figures of a report where there are any."""
    first, *more = said.strip().splitlines()
    if more and re.match(r"Refuted: (log: )?\d+ sends", first):
        first = f"Refuted: {more[0]}"
    first = re.sub(r"ReplicaKey\(node_id=(\d+), directory_id=UUID\('[-0-9a-f]*'\)\)", r"node \1", first)
    return re.sub(r"\s+", " ", first)[:SAID_MAX]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
