"""What a load leaves behind goes back to the system."""

import ctypes

import pytest

from kraftpy.runtime import memory
from kraftpy.runtime.memory import UnusedMemory, anonymous_bytes

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


def test_a_c_library_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(memory, "anonymous_bytes", lambda: pytest.fail("nobody has to know"))
    UnusedMemory().give_back()
