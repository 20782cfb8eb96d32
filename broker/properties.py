"""Reads settings as operators write them: a `.properties` file, and `KAFKA_…` variables of the environment.

The file's rules are Java's (`Properties.load`): `#` and `!` begin a comment line, a name ends at the first `=`, `:` or
blank, a backslash at a line's end continues it, `\\t`, `\\n`, `\\uXXXX` are escapes. It is read as UTF-8, not Latin-1.

Two things that Java takes for values are stripped here, with one notice, because tutorials are full of them: a line
that begins with `//`, and an inline comment after a value (`broker.id=2  # the second machine`). A `#` without a blank
before it belongs to the value.

Pure: text and mappings in, mappings out.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kraftpy.errors import ConfigurationError

_INLINE_COMMENT = re.compile(r"\s#.*$")
_SEPARATOR = re.compile(r"(?<!\\)(?:\\\\)*(\s*[=:]\s*|\s+)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}

_ENVIRONMENT_PREFIX = "KAFKA_"
_NOT_SETTINGS = frozenset(  # variables of Kafka's scripts and images, which share the prefix
    """
    KAFKA_HEAP_OPTS KAFKA_OPTS KAFKA_JVM_PERFORMANCE_OPTS KAFKA_GC_LOG_OPTS KAFKA_JMX_OPTS KAFKA_LOG4J_OPTS
    KAFKA_LOG4J_CMD_OPTS KAFKA_DEBUG KAFKA_HOME KAFKA_VERSION KAFKA_MODE KAFKA_JMX_PORT KAFKA_JMX_HOSTNAME
    KAFKA_CLUSTER_ID
    """.split()
)


class Properties(NamedTuple):
    """What a file holds. Of a name that stands twice the last counts, as in Java."""

    values: dict[str, str]
    notices: tuple[str, ...]


def parse_properties(text: str) -> Properties:
    """Parse a file's text. Raises `ConfigurationError` for a malformed escape."""
    values: dict[str, str] = {}
    stripped: list[int] = []
    for number, line in _logical_lines(text.removeprefix("\ufeff"), stripped):
        without_comment = _INLINE_COMMENT.sub("", line)
        if without_comment != line:
            stripped.append(number)
        name, value = _split(without_comment)
        values[_unescape(name, number)] = _unescape(value, number)
    return Properties(values, _notices(stripped))


def settings_in_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings among environment variables: `KAFKA_LOG_DIRS` is `log.dirs`; `__` stands for `_`, `___` for `-`."""
    values: dict[str, str] = {}
    for variable in sorted(environment):
        if variable.startswith(_ENVIRONMENT_PREFIX) and variable not in _NOT_SETTINGS:
            name = variable.removeprefix(_ENVIRONMENT_PREFIX).lower()
            values[re.sub("_{1,3}", lambda run: "._-"[len(run.group()) - 1], name)] = environment[variable]
    return values


def _logical_lines(text: str, stripped: list[int]) -> Iterator[tuple[int, str]]:
    """The lines that hold a setting, continued ones joined, with the number of their first line."""
    pending, first = "", 0
    for number, raw in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        line = raw.lstrip(" \t\f")
        if not pending:
            if not line or line[0] in "#!":
                continue
            if line.startswith("//"):
                stripped.append(number)
                continue
            first = number
        if (len(line) - len(line.rstrip("\\"))) % 2:
            pending += line[:-1]
            continue
        yield first, pending + line
        pending = ""
    if pending:
        yield first, pending


def _split(line: str) -> tuple[str, str]:
    match = _SEPARATOR.search(line)
    if match is None:
        return line, ""
    return line[: match.start(1)], line[match.end(1) :].rstrip()


def _unescape(text: str, number: int) -> str:
    def replace(match: re.Match[str]) -> str:
        escape = match.group(1)
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        if escape == "u":
            raise ConfigurationError(f"line {number}: \\u must be followed by four hexadecimal digits")
        return _ESCAPED.get(escape, escape)

    return _ESCAPE.sub(replace, text)


def _notices(stripped: list[int]) -> tuple[str, ...]:
    if not stripped:
        return ()
    lines = ", ".join(map(str, sorted(stripped)[:10])) + (", …" if len(stripped) > 10 else "")
    return (f"comments were left out in line {lines}: in Kafka, // lines and text after a value belong to the setting",)
