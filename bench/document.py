"""docs/benchmarks.md: each benchmark writes what it found between the marks of its own section."""

import platform
import sysconfig
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def write(name: str, rendered: str) -> None:
    """Replace what stands between the marks of `name` in the document."""
    DOCUMENT.write_text(put(DOCUMENT.read_text(), name, rendered))


def put(text: str, name: str, rendered: str) -> str:
    """`text` with this between the marks of `name`. Raises `ValueError` where it has none."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the document has no section {begin} … {end}")
    return f"{before}{begin}\n{rendered}\n{end}{after}"


def python_version() -> str:
    """The interpreter's, and whether it was compiled without a profile, as distributions' are not: a sixth slower.

    Debian profiles without `--enable-optimizations`, and leaves the flag for it empty.
    """
    is_profiled = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    is_profiled = is_profiled or not sysconfig.get_config_var("PGO_PROF_USE_FLAG")
    return platform.python_version() + ("" if is_profiled else ", compiled without --enable-optimizations")
