"""Prints the golden file of the assignors anew: `python -m tests.tools.generate_assignments JARS [GROUPS]`.

JARS is a folder that holds kafka-clients (4.x), jackson-databind and what they need; Java 17 or newer must be there.
"""

import gzip
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "client" / "assignors"
GOLDEN = FOLDER / "golden.jsonl.gz"
GROUPS = 50


def main() -> None:
    jars = ":".join(str(jar) for jar in sorted(Path(sys.argv[1]).glob("*.jar")))
    groups = sys.argv[2] if len(sys.argv) > 2 else str(GROUPS)
    command = ["java", "-cp", jars, str(FOLDER / "GoldenAssignments.java"), groups]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with GOLDEN.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        packed.write(printed)


if __name__ == "__main__":
    main()
