"""What a load leaves behind goes back to the system."""

import ctypes
import subprocess
import sys

import pytest

from kraftpy.runtime.memory import anonymous_bytes, give_back_unused_memory, keep_freed_memory

MIB = 1 << 20

MALLOC = """
import ctypes, resource, sys, threading
from kraftpy.runtime.memory import anonymous_bytes, give_back_unused_memory, keep_freed_memory
if not hasattr(ctypes.CDLL(None), "malloc_trim"):
    sys.exit("no malloc_trim")
keep_freed_memory()
fill = ctypes.memset
allocate, release = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
allocate.restype, release.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def take(count):
    held = [allocate(1 << 20) for _ in range(count)]
    for each in held:
        fill(each, 1, 1 << 20)
    return held
def free(held):
    for each in held:
        release(each)
"""
"""For a process of its own: what malloc is told, it is told for good, and heaps that it has it keeps."""

LOADS = """
give_back_unused_memory()
before_bytes = anonymous_bytes()
{load}
give_back_unused_memory()
print(anonymous_bytes() - before_bytes)
"""

OF_THIS_THREAD = "free(take(40))"
THAT_RESTS_BETWEEN = "held = take(40); give_back_unused_memory(); free(held)"
OF_A_THREAD_THAT_LIVES_ON = """
freed, over = threading.Event(), threading.Event()
threading.Thread(target=lambda: (free(take(40)), freed.set(), over.wait()), daemon=True).start()
freed.wait()
"""


def run(script: str) -> int:
    """What a process prints that is run for it."""
    ran = subprocess.run([sys.executable, "-c", MALLOC + script], capture_output=True, text=True, timeout=60)
    if ran.stderr.startswith("no malloc_trim"):
        pytest.skip(f"this C library has {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    return int(ran.stdout)


@pytest.mark.parametrize("load", [OF_THIS_THREAD, THAT_RESTS_BETWEEN, OF_A_THREAD_THAT_LIVES_ON])
def test_what_a_load_leaves_is_given_back(load: str) -> None:
    if anonymous_bytes() is None:
        pytest.skip("this system does not tell what a process holds")
    assert run(LOADS.replace("{load}", load)) < 8 * MIB, "of 40"


FREED_AGAIN_AND_AGAIN = """
def batches(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        free(take(8))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
batches(1)
print(batches(50))
"""


def test_memory_of_batches_that_come_and_go_is_taken_from_the_system_once() -> None:
    assert run(FREED_AGAIN_AND_AGAIN) < 1000, "pages that were taken from the system, of 50 × 8 × 256"


def test_a_c_library_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back_unused_memory()
    keep_freed_memory()
