"""The replay check finds what it is there for, lets pass what is fine, and finds nothing in the tree."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.replay_check import ROOT, check_source, check_tree, simulated_files

PLANTED = {
    # iterating over sets
    "literal": "for x in {1, 2}: print(x)",
    "call": "for x in set(y): print(x)",
    "frozenset": "for x in frozenset(y): print(x)",
    "name": "s = {1}\nfor x in s: print(x)",
    "set comprehension": "for x in {a for a in b}: print(x)",
    "list comprehension": "s = set()\n[x for x in s]",
    "dict comprehension": "s = set()\n{x: 1 for x in s}",
    "generator handed on": "s = set()\nlist(x for x in s)",
    "generator in a name": "def f(s: set[int]):\n    g = (x for x in s)\n    return [x for x in g]",
    "generator sorted by a key": "def f(s: set[int]): return sorted((x for x in s), key=len)",
    "generator returned": "def f(s: set[int]): return (x for x in s)",
    "generator to anybody": "def f(s: set[int]): g(x for x in s)",
    "generator joined": "def f(s: set[str]): return ''.join(x for x in s)",
    "generator in two loops": "def f(m: dict[str, set[int]]):\n    return list(x for s in m.values() for x in s)",
    "inner loop": "def f(m: dict[str, set[int]]):\n    return [x for k, v in m.items() for x in v]",
    "parameter": "def f(s: set[int]):\n    for x in s: print(x)",
    "optional parameter": "def f(s: frozenset[int] | None):\n    for x in s or (): print(x)",
    "quoted annotation": "def f(s: 'set[int]'):\n    for x in s: print(x)",
    "abstract set": "from collections.abc import Set\ndef f(s: Set[int]):\n    for x in s: print(x)",
    "keyword parameter": "def f(*, s: set[int]):\n    for x in s: print(x)",
    "attribute": "class A:\n    def __init__(self): self.s = set()\n    def f(self): return list(self.s)",
    "annotated attribute": "class A:\n    s: frozenset[int]\ndef f(a):\n    return [x for x in a.s]",
    "own attribute": "class A:\n    s: set[int]\n    def f(self): return list(self.s)\nclass B:\n    s: list[int]",
    "default factory": "class A:\n    s: set = field(default_factory=set)\n    def f(self): return list(self.s)",
    "property": "class A:\n    @property\n    def s(self) -> set[int]: ...\ndef f(a):\n    for x in a.s: print(x)",
    "result": "def f() -> set[int]: ...\nfor x in f(): print(x)",
    "method result": "class A:\n    def f(self) -> set[int]: ...\ndef g(a):\n    for x in a.f(): print(x)",
    "awaited result": "async def f() -> set[int]: ...\nasync def g():\n    for x in await f(): print(x)",
    "union": "def f(s: set[int]):\n    for x in s | {1}: print(x)",
    "difference method": "def f(s: set[int]):\n    for x in s.difference([1]): print(x)",
    "difference of keys": "def f(a, b):\n    for x in a.keys() - b: print(x)",
    "either": "def f(s: set[int], c):\n    for x in s if c else []: print(x)",
    "map of sets": "def f(m: dict[str, set[int]]):\n    for x in m['a']: print(x)",
    "map get": "def f(m: dict[str, set[int]]):\n    for x in m.get('a', ()): print(x)",
    "map values": "def f(m: dict[str, set[int]]):\n    for s in m.values():\n        for x in s: print(x)",
    "default dict": "m = defaultdict(set)\nfor x in m[1]: print(x)",
    "list of sets": "def f(l: list[set[int]]):\n    for s in l:\n        for x in s: print(x)",
    "walrus": "if (s := {1}): \n    for x in s: print(x)",
    "async for": "async def f(s: set[int]):\n    async for x in s: print(x)",
    "to list": "def f(s: set[int]): return list(s)",
    "to tuple": "def f(s: set[int]): return tuple(s)",
    "enumerate": "def f(s: set[int]): return enumerate(s)",
    "next of iter": "def f(s: set[int]): return next(iter(s))",
    "star": "def f(s: set[int]): return [*s]",
    "star argument": "def f(s: set[int]): print(*s)",
    "gather": "import asyncio\nasync def f(s: set[int]): await asyncio.gather(*s)",
    "yield from": "def f(s: set[int]): yield from s",
    "join": "def f(s: set[str]): return ', '.join(s)",
    "extend": "def f(s: set[str], l): l.extend(s)",
    "pop": "def f(s: set[str]): return s.pop()",
    "unpacking": "def f(s: set[str]):\n    a, b = s",
    "sorted by a key": "def f(s: set[str]): return sorted(s, key=len)",
    "min by a key": "def f(s: set[str]): return min(s, key=len)",
    "choice": "def f(random, s: set[str]): return random.choice(s)",
    "weak set": "import weakref\ns = weakref.WeakSet()\nfor x in s: print(x)",
    "nested function": "def f(s: set[int]):\n    def g():\n        for x in s: print(x)",
    # protobuf's maps
    "map field": "def f(m: admin_pb2.NewTopic):\n    for x in m.config: print(x)",
    "map field copied": "def f(m: admin_pb2.NewTopic): return dict(m.config)",
    "map field's items": "def f(m: admin_pb2.NewTopic): return {k: v for k, v in m.config.items()}",
    "map of a repeated message": "def f(m: admin_pb2.Topics):\n    for t in m.topics:\n        print(list(t.config))",
    "map of a parsed message": "def f(b):\n    m = admin_pb2.NewTopic.FromString(b)\n    return list(m.config)",
    # asyncio's sets
    "wait": "import asyncio\nasync def f(l):\n    d, p = await asyncio.wait(l)\n    for x in p: print(x)",
    "wait imported": "from asyncio import wait\nasync def f(l):\n    d, p = await wait(l)\n    for x in d: print(x)",
    "as_completed": "import asyncio\nasync def f(l):\n    for x in asyncio.as_completed(l): await x",
    "task group": "import asyncio\nasync def f():\n    async with asyncio.TaskGroup() as g: print(g)",
    "task group imported": "from asyncio import TaskGroup",
    "all tasks": "import asyncio\nasyncio.all_tasks()",
    # the world outside
    "time": "import time\ntime.time()",
    "monotonic": "import time\ntime.monotonic()",
    "time renamed": "import time as t\nt.perf_counter_ns()",
    "time imported": "from time import monotonic",
    "sleep": "import time\ntime.sleep(1)",
    "clock handed on": "import time\nf(clock=time.monotonic)",
    "now": "import datetime\ndatetime.datetime.now()",
    "now imported": "from datetime import datetime\ndatetime.now()",
    "today": "from datetime import date\ndate.today()",
    "random": "import random\nrandom.random()",
    "choice of the module": "import random\nrandom.choice([1])",
    "random imported": "from random import randint",
    "no seed": "from random import Random\nRandom()",
    "no seed qualified": "import random\nrandom.Random()",
    "urandom": "import os\nos.urandom(8)",
    "urandom imported": "from os import urandom",
    "pid": "import os\nos.getpid()",
    "uuid4": "import uuid\nuuid.uuid4()",
    "uuid1 imported": "from uuid import uuid1",
    "secrets": "import secrets",
    "secrets imported": "from secrets import token_hex",
    "id": "x = id(y)",
    "by id": "sorted(y, key=id)",
    "hash": "x = hash('a') % 10",
    "open": "open('f')",
    "threading": "import threading",
    "thread imported": "from threading import Lock",
    "pool": "import concurrent.futures",
    "pool imported": "from concurrent.futures import ThreadPoolExecutor",
    "to_thread": "import asyncio\nasyncio.to_thread(f)",
    "executor": "loop.run_in_executor(None, f)",
    "socket": "import socket",
    "subprocess": "from subprocess import run",
    # allowances
    "no reason": "for x in {1, 2}: print(x)  # replay:",
    "stale allowance": "x = 1  # replay: nothing is wrong here",
}

FINE = {
    "sorted": "def f(s: set[int]):\n    for x in sorted(s): print(x)",
    "membership": "def f(s: set[int]): return 1 in s and len(s) and min(s)",
    "any": "def f(s: set[int]): return any(x > 1 for x in s) or sum(x for x in s)",
    "sorted generator": "def f(s: set[int]): return sorted(x + 1 for x in s)",
    "generator in a name, sorted": "def f(s: set[int]):\n    g = (x for x in s)\n    return sorted(x for x in g)",
    "set of a set": "def f(s: set[int]): return {x + 1 for x in s} | frozenset(s) | {*s}",
    "update": "def f(s: set[int], t: set[int]):\n    s.update(t)\n    s.discard(1)",
    "dictionary": "def f(d: dict[int, int]):\n    for x in d: print(x)\n    for x in d.keys(): print(x)",
    "keys": "def f(d):\n    return [x for x in d.keys()]",
    "rebound": "def f(s: set[int]):\n    s = sorted(s)\n    for x in s: print(x)",
    "shadowed": "s = {1}\ndef f(s: list[int]):\n    for x in s: print(x)",
    "map pop": "def f(m: dict[int, int]): return m.popitem()",
    "numbers": "a = b | c\nd = e - f",
    "a map field in order": "def f(m: admin_pb2.NewTopic): return dict(sorted(m.config.items())), m.config['a']",
    "a repeated field": "def f(m: admin_pb2.Topics):\n    for t in m.topics: print(t.name)",
    "other class": "class A:\n    s: set[int]\nclass B:\n    s: list[int]\n    def f(self): return list(self.s)",
    "seeded": "from random import Random\nRandom(7).random()",
    "generator": "def f(random): return random.random()",
    "uuid": "from uuid import UUID\nUUID(int=1)",
    "paths": "import os.path\nos.path.join('a', 'b')",
    "sleep": "import asyncio\nasyncio.sleep(1)",
    "own clock": "def f(clock): return clock.monotonic_ms()",
    "a method called open": "def f(disk): return disk.open('/a')",
    "wait": "import asyncio\nasync def f(l):\n    d, _ = await asyncio.wait(l)\n    return any(x.done() for x in d)",
    "allowed": "for x in {1, 2}: print(x)  # replay: the sum does not depend on the order",
    "allowed call": "import time\nx = f(\n    time.time(),  # replay: only printed\n)",
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_failure_is_found(name: str) -> None:
    assert list(check_source("planted.py", PLANTED[name]))


@pytest.mark.parametrize("name", FINE)
def test_what_is_fine_passes(name: str) -> None:
    assert list(check_source("fine.py", FINE[name])) == []


def test_a_complaint_says_where_and_what() -> None:
    source = (
        "import time\n\n\ndef f(s: set[int]) -> float:\n    for x in s:\n        print(x)\n    return time.time()\n"
    )
    assert list(check_source("a.py", source)) == [
        "a.py:5: iterates over a set: s",
        "a.py:7: time.time: go through a port",
    ]


def test_annotations_are_known_across_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class Image:\n    isr: frozenset[int]\n")
    (tmp_path / "b.py").write_text("def f(image):\n    return [x for x in image.isr]\n")
    assert check_tree([tmp_path / "a.py", tmp_path / "b.py"], tmp_path) == ["b.py:2: iterates over a set: image.isr"]


def test_the_command_exits_with_one_and_names_the_place(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import uuid\n\nprint(uuid.uuid4())\n")
    command = [sys.executable, "-m", "tests.tools.replay_check", str(bad)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert f"{bad}:3: uuid.uuid4: go through a port" in result.stdout


def test_nothing_in_the_tree_breaks_replay() -> None:
    assert check_tree(simulated_files()) == []
