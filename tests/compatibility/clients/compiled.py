"""The libraries whose programs are compiled: franz-go, and rdkafka for Rust."""

import re
from collections.abc import Sequence

from tests.compatibility.cache import PROGRAMS, Cache
from tests.compatibility.clients.library import Library


def go_command(cache: Cache) -> Sequence[str]:
    return [str(cache.go("franz_go"))]


def rust_command(cache: Cache) -> Sequence[str]:
    return [str(cache.rust("rdkafka_client"))]


def pinned(path: str, pattern: str) -> str:
    """The version in a project's file."""
    found = re.search(pattern, (PROGRAMS / path).read_text())
    assert found is not None, f"no version in {path}"
    return found[1]


COMPILED = (
    Library(f"franz-go {pinned('go/franz_go/go.mod', r'franz-go v([0-9.]+)')} (Go)", go_command),
    Library(f"rdkafka {pinned('rust/rdkafka_client/Cargo.toml', r'rdkafka = .*?=([0-9.]+)')} (Rust)", rust_command),
)
