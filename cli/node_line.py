"""What `kraftpy node` was told, and a reader of it that needs no typer.

Nodes are started by scripts and supervisors, which type whole options with values. typer (with pydantic, which its
newer releases bring along) costs such a start 0.1 s of processor time, a quarter of all. So what leaves nothing to say
is read here. `read` gives up at anything else, be it help, a mistake or another way to write it, and `cli.node` reads
it with typer, which knows the words for that; a test compares the two.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_DIGITS_MAX = 9


class NodeLine(NamedTuple):
    """As `cli.node.node` takes it; `settings` taken apart."""

    node_id: int | None = None
    peers: str = ""
    data_dir: str = ""
    config: Path | None = None
    settings: Mapping[str, str] = {}
    listen: str = ""
    listeners: str = ""
    advertised_listeners: str = ""
    insecure_listeners: bool = False
    strict: bool = False

    def given(self) -> dict[str, str]:
        """As settings of Kafka's names."""
        flags = dict(self.settings)
        if self.node_id is not None:
            flags["node.id"] = str(self.node_id)
        if self.peers:
            flags["controller.quorum.voters"] = self.peers
        if self.data_dir:
            flags["log.dirs"] = self.data_dir
        if self.listen or self.listeners:
            flags["listeners"] = ",".join(
                filter(None, (f"GRPC://{self.listen}" if self.listen else "", self.listeners))
            )
        if self.advertised_listeners:
            flags["advertised.listeners"] = self.advertised_listeners
        if self.insecure_listeners:
            flags["insecure.listeners.enable"] = "true"
        return flags


TEXTS = {
    "--peers": "peers",
    "--data-dir": "data_dir",
    "--listen": "listen",
    "--listeners": "listeners",
    "--advertised-listeners": "advertised_listeners",
}
SWITCHES = {"--insecure-listeners": "insecure_listeners", "--strict": "strict"}


def read(words: Sequence[str]) -> NodeLine | None:
    """What stands after `kraftpy node`; None: let typer read it."""
    found: dict[str, Any] = {}
    settings: dict[str, str] = {}
    rest = iter(words)
    for option in rest:
        if option in SWITCHES:
            found[SWITCHES[option]] = True
            continue
        value = next(rest, "-")
        if value.startswith("-"):
            return None
        if option in TEXTS:
            found[TEXTS[option]] = value
        elif option == "--id" and value.isascii() and value.isdecimal() and len(value) <= _DIGITS_MAX:
            found["node_id"] = int(value)
        elif option == "--config" and os.access(value, os.R_OK) and not os.path.isdir(value):
            found["config"] = Path(value)
        elif option == "--set" and value.partition("=")[0].strip() and "=" in value:
            name, _, setting = value.partition("=")
            settings[name.strip()] = setting.strip()
        else:
            return None
    return NodeLine(**found, settings=settings)
