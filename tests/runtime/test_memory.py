"""What a load leaves behind goes back to the system."""

import ctypes
import subprocess
import sys

import pytest

from kraftpy.runtime import memory
from kraftpy.runtime.memory import UnusedMemory, anonymous_bytes, keep_freed_memory

MIB = 1 << 20


def held_bytes() -> int:
    found = anonymous_bytes()
    if found is None:
        pytest.skip("this system does not tell what a process holds")
    return found


def load() -> None:
    """Batches that came and went. The largest of them, freed, makes glibc take what comes later from its heap."""
    assert len(bytes(30 * MIB))
    assert len([b"\1" * MIB for _ in range(48)])


def test_what_a_load_leaves_is_given_back() -> None:
    unused = UnusedMemory()
    if unused._trim is None:
        pytest.skip("this C library has no malloc_trim")
    unused.give_back()
    before_bytes = held_bytes()
    load()
    if held_bytes() - before_bytes < 32 * MIB:
        pytest.skip("this C library keeps nothing")
    unused.give_back()
    assert held_bytes() - before_bytes < 8 * MIB


def test_it_is_not_looked_for_where_little_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    little = 60 * MIB + memory.WORTH_BYTES - 1
    holds = iter([100 * MIB, 60 * MIB, little, little + 1, 60 * MIB, None])
    monkeypatch.setattr(memory, "anonymous_bytes", lambda: next(holds))
    unused = UnusedMemory()
    trimmed: list[int] = []
    monkeypatch.setattr(unused, "_trim", trimmed.append)
    counts = []
    for _ in range(4):
        unused.give_back()
        counts.append(len(trimmed))
    assert counts == [1, 1, 2, 2], "at first, little, enough, and where the system does not tell"


FREED_AGAIN_AND_AGAIN = """
import ctypes, resource, sys
from kraftpy.runtime.memory import keep_freed_memory
if not hasattr(ctypes.CDLL(None), "mallopt"):
    sys.exit("no mallopt")
keep_freed_memory()
fill = ctypes.memset
allocate, release = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
allocate.restype, release.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def batches(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        held = [allocate(1 << 20) for _ in range(8)]
        for each in held:
            fill(each, 1, 1 << 20)
        for each in held:
            release(each)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
batches(1)
print(batches(50))
"""


def test_memory_of_batches_that_come_and_go_is_taken_from_the_system_once() -> None:
    """In a process of its own: what malloc is told, it is told for good."""
    ran = subprocess.run([sys.executable, "-c", FREED_AGAIN_AND_AGAIN], capture_output=True, text=True, timeout=60)
    if ran.stderr.strip() == "no mallopt":
        pytest.skip("this C library has no mallopt")
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 1000, "pages that were taken from the system, of 50 × 8 × 256"


def test_a_c_library_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(memory, "anonymous_bytes", lambda: pytest.fail("nobody has to know"))
    UnusedMemory().give_back()
    keep_freed_memory()
