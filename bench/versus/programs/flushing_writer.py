"""What a disk gives to one process that writes 1 MB and flushes it, again and again.

Argument: `folder`, `seconds`. Found: `bytes` and `seconds`. The file grows as it is written, and has no name.
"""

import json
import os
import sys
import tempfile
import time

from bench.versus.programs.payload import values

PIECE = 1_000_000


def main() -> None:
    asked = json.loads(sys.argv[1])
    pieces = values(PIECE)
    written = 0
    with tempfile.TemporaryFile(dir=asked["folder"], buffering=0) as file:
        began = time.monotonic()
        while (took := time.monotonic() - began) < asked["seconds"]:
            os.write(file.fileno(), pieces[(written // PIECE) % len(pieces)])
            os.fdatasync(file.fileno())
            written += PIECE
    print(json.dumps({"bytes": written, "seconds": took}))


if __name__ == "__main__":
    main()
