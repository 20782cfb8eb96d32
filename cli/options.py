"""What several commands take, and what they do with it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kraftpy import Admin

DEFAULT_BOOTSTRAP = "localhost:9092"

Bootstrap = Annotated[
    str,
    typer.Option(
        "-b",
        "--bootstrap-server",
        envvar="KRAFTPY_BOOTSTRAP_SERVER",
        help="Any nodes of the cluster: HOST:PORT, several with commas; those that are down are skipped. Any port of "
        "a node will do.",
        metavar="HOST:PORT,…",
    ),
]
TIMEOUT_MAX_S = 2_147_483  # the client's own (wire_numbers), which is not loaded for a command line's help
Timeout = Annotated[
    float, typer.Option("--timeout", help="Seconds until a call is given up.", min=0.001, max=TIMEOUT_MAX_S)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--config", "-c", help="A setting, NAME=VALUE; may be repeated.", metavar="NAME=VALUE"),
]


def pairs(texts: Iterable[str] | None, option: str) -> dict[str, str]:
    """`name=value` texts as a mapping. Raises `typer.BadParameter`."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"'{text}' is not NAME=VALUE", param_hint=option)
        found[name.strip()] = value.strip()
    return found


def client_settings(texts: Iterable[str] | None) -> dict[str, str]:
    """What -X says. Raises `typer.BadParameter`."""
    found = pairs(texts, "-X")
    for name in ("bootstrap.servers", "bootstrap"):
        if name in found:
            raise typer.BadParameter(f"{name}: -b names the nodes to ask", param_hint="-X")
    return found


def separator(text: str) -> bytes:
    """A separator as it is typed; `\\t` is a tab."""
    return text.replace("\\t", "\t").encode("utf-8", "surrogateescape")


def admin(bootstrap: str) -> "Admin":
    from kraftpy import Admin

    return Admin(bootstrap, client_id="kraftpy-cli")
