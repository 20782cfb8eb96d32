"""The core with a known bug (`tests.bugs.quorum`) in this process: copies of its modules, in memory only.

For stories and transcripts, which take a core: this takes milliseconds, where a copy of all sources takes a process.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import raft
from raft.core import RaftCore
from tests.bugs.bug import Bug, spoiled

COPIED = ("role", "status", "log_shape", "waiting", "election", "fetching", "follower", "observer", "leader", "core")


@contextmanager
def core_with(bug: Bug) -> Iterator[Callable[..., RaftCore]]:
    """`RaftCore` of a copy of the core in which `bug` is put back."""
    names = [f"raft.{name}" for name in COPIED]
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    finder = _Patching(bug)
    sys.meta_path.insert(0, finder)
    try:
        copy = import_module("raft.core")
    finally:
        sys.meta_path.remove(finder)
        for name in names:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
        for name, module in kept.items():
            setattr(raft, name.rpartition(".")[2], module)
    assert bug.module in names, "a bug of another part"
    yield copy.RaftCore


class _Patching(MetaPathFinder, Loader):
    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        return ModuleSpec(fullname, self) if package == "raft" and name in COPIED else None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        is_spoiled = module.__name__ == self._bug.module
        source = spoiled(self._bug) if is_spoiled else (Path(raft.__file__).parent / f"{name}.py").read_text()
        exec(compile(source, f"<{name} with a bug>", "exec"), module.__dict__)
