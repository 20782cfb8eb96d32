"""Generates `kraftpy/pb/` from `proto/`; with `--check`, tells whether that would change anything.

    python -m tests.tools.generate_protobuf [--check]

The compiler and the plugin that writes the types are pinned in pyproject's `dev` extra: what they generate runs with
protobuf 5.29 and all later releases so far. No service stubs are generated; the transport calls methods by name.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "proto"
GENERATED = Path("kraftpy") / "pb"


def generate(target: Path) -> dict[str, bytes]:
    """Generate into the empty folder `target`; gives the files by name."""
    scripts = sysconfig.get_path("scripts")
    files = sorted(str(path) for path in SOURCES.rglob("*.proto"))
    command = [f"{scripts}/protoc", f"--proto_path={SOURCES}", f"--python_out={target}", f"--mypy_out=quiet:{target}"]
    plugin = f"--plugin=protoc-gen-mypy={scripts}/protoc-gen-mypy"
    subprocess.run([*command, plugin, *files], check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    return _contents(target / GENERATED)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*_pb2.py*"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where the committed files differ")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
    committed = _contents(ROOT / GENERATED)
    different = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    if not check:
        for name in different:
            if name in fresh:
                (ROOT / GENERATED / name).write_bytes(fresh[name])
            else:
                (ROOT / GENERATED / name).unlink()
    for name in different:
        print(f"{GENERATED / name} {'differs from what proto/ generates' if check else 'written'}")
    if check and different:
        print("run: python -m tests.tools.generate_protobuf")
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main())
