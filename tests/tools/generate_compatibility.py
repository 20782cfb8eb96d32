"""Writes the table of the Kafka protocol in docs/compatibility.md from what the door serves, or checks it.

    python -m tests.tools.generate_compatibility [--check]

Versions come from the router's table; what an API does and leaves out, from the first lines of its handler's file. The
generated part stands between `<!-- protocol -->` and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from broker.kafka.api import Api
from broker.kafka.api_versions import ApiVersions
from tests.kafka.tables import APIS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"


def main(arguments: Sequence[str]) -> int:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = filled(text)
    if "--check" not in arguments:
        DOCUMENT.write_text(written, encoding="utf-8")
        return 0
    if written != text:
        print("docs/compatibility.md is not what the code says: python -m tests.tools.generate_compatibility")
        return 1
    print("docs/compatibility.md: as the code says")
    return 0


def filled(text: str) -> str:
    """Raises `ValueError` where the place for the table is missing."""
    pattern = re.compile(r"(<!-- protocol -->\n).*?(<!-- end -->)", re.DOTALL)
    text, count = pattern.subn(lambda found: f"{found[1]}{protocol()}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"docs/compatibility.md has {count} places for the protocol")
    return text


def protocol() -> str:
    apis = sorted([*APIS, ApiVersions().api()], key=lambda api: api.key)
    rows = [f"| {int(api.key)} | {_name(api)} | {_versions(api)} | {explained(api)} |" for api in apis]
    return "\n".join(["| key | API | versions | |", "|---|---|---|---|", *rows])


def explained(api: Api) -> str:
    """The first paragraph of the handler's file, without the names and versions that it begins with."""
    document = sys.modules[api.handler.__module__].__doc__ or ""
    paragraph = " ".join(document.split("\n\n", maxsplit=1)[0].split())
    return paragraph.partition(": ")[2] or paragraph


def _name(api: Api) -> str:
    return "".join(part.capitalize() for part in api.key.name.split("_"))


def _versions(api: Api) -> str:
    first = api.version_min
    versions = f"{first}–{api.version_max}" if first != api.version_max else str(first)
    gone = range(api.advertised_min, first)
    return f"{versions}; {gone[0]}–{gone[-1]} are advertised, and who speaks them is disconnected" if gone else versions


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
