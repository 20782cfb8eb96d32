"""What a dynamic setting is: its name, its type, what it may be, what it means."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from kraftpy.errors import InvalidConfigError
from kraftpy.runtime.limits import INT32_MAX, INT64_MAX

VALUE_BYTES_MAX = 512 << 10
"""Of one setting's text. The longest that are of use list the throttled replicas of a moving topic: 240 KB for 10,000
partitions of three replicas."""

Value = bool | int | float | str | tuple[str, ...]


class Kind(Enum):
    """Kafka's types of settings (ConfigDef.Type)."""

    BOOLEAN = "boolean"
    INT = "int"
    LONG = "long"
    DOUBLE = "double"
    STRING = "string"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class DynamicSetting:
    """One setting of topics or brokers that can change while the cluster runs. Values travel as text, and are parsed
    where they are used."""

    name: str
    kind: Kind
    default: str
    documentation: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()  # of a string, or of each element of a list
    pattern: str = ""  # of each element of a list: a regular expression, which it has to match as a whole
    broker_name: str = ""  # of a topic's setting: the broker's setting that is its default
    log_field: str = ""  # of a topic's setting: the field of `log_store.LogConfig` that it fills

    def parse(self, text: str) -> Value:
        """The value that `text` means. Raises `InvalidConfigError`, which names the setting and what it may be."""
        stripped = text.strip()
        match self.kind:
            case Kind.BOOLEAN:
                return self._boolean(stripped)
            case Kind.INT | Kind.LONG:
                return self._whole(stripped)
            case Kind.DOUBLE:
                return self._fraction(stripped)
            case Kind.LIST:
                elements = tuple(element.strip() for element in stripped.split(",") if element.strip())
                if self.choices and not elements:
                    self._check_choice("")
                for element in elements:
                    self._check_choice(element)
                    self._check_pattern(element)
                return elements
            case Kind.STRING:
                self._check_choice(stripped)
                return stripped
            case _:
                assert_never(self.kind)

    def _boolean(self, text: str) -> bool:
        if text.lower() not in ("true", "false"):
            raise InvalidConfigError(f"{self.name}={text}: it is true or false")
        return text.lower() == "true"

    def _whole(self, text: str) -> int:
        try:
            value = int(text) if text.isascii() and "_" not in text else None
        except ValueError:
            value = None
        if value is None:
            raise InvalidConfigError(f"{self.name}={text}: it is a whole number")
        return int(self._in_range(value))

    def _fraction(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise InvalidConfigError(f"{self.name}={text}: it is a number") from None
        return self._in_range(value)

    def _in_range(self, value: float) -> float:
        limit = INT32_MAX if self.kind is Kind.INT else INT64_MAX
        least = -limit - 1 if self.minimum is None else self.minimum
        most = limit if self.maximum is None else self.maximum
        if not least <= value <= most:
            raise InvalidConfigError(f"{self.name}={value}: it lies between {least} and {most}")
        return value

    def _check_choice(self, text: str) -> None:
        if self.choices and text not in self.choices:
            raise InvalidConfigError(f"{self.name}={text}: it is {' or '.join(self.choices)}")

    def _check_pattern(self, element: str) -> None:
        if self.pattern and not re.fullmatch(self.pattern, element):
            raise InvalidConfigError(f"{self.name}: {element[:60]} is none of its elements; see its documentation")


def check_length(name: str, text: str) -> None:
    """Raises `InvalidConfigError` where a new value is longer than any that is of use.

    Of values to be set only: one that an older release has let pass can still be read.
    """
    size_bytes = len(text.encode())
    if size_bytes > VALUE_BYTES_MAX:
        raise InvalidConfigError(f"{name}: a value has at most {VALUE_BYTES_MAX} bytes, not {size_bytes}")


def unknown_setting(name: str, known: Iterable[str]) -> InvalidConfigError:
    """The error for a name that nobody knows, with the nearest one that somebody does."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return InvalidConfigError(f"unknown setting {name}{hint}")
