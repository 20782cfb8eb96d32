"""How a configuration class is filled: by keyword arguments, or by Kafka's dotted names.

A setting is a dataclass field made by `setting`, which carries its sentence, its further names and its bounds. The
dotted name of `batch_size` is `batch.size`. Values may be text, as in a properties file; they are converted to the
type of the field. An unknown name is refused with the nearest known one, and a name that another release brings is
refused with the sentence that says so: a setting that has no effect is never accepted silently.
"""

import difflib
from collections.abc import Mapping
from dataclasses import Field, field, fields
from typing import Any, ClassVar, Self, TypeVar, get_type_hints

from kraftpy.errors import ConfigurationError

T = TypeVar("T")

_CALLED_ELSEWHERE = {"metadata.broker.list": "bootstrap.servers", "brokers": "bootstrap.servers"}
_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")


def setting(
    default: T,
    documentation: str,
    *,
    names: tuple[str, ...] = (),
    minimum: int | None = None,
    maximum: int | None = None,
    choices: tuple[str, ...] = (),
) -> T:
    """A field with its documentation; `names` are further dotted names that mean the same."""
    metadata = documented(documentation, names=names, minimum=minimum, maximum=maximum, choices=choices)
    made: T = field(default=default, metadata=metadata)
    return made


def documented(
    documentation: str,
    *,
    names: tuple[str, ...] = (),
    minimum: int | None = None,
    maximum: int | None = None,
    choices: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What a field's metadata holds."""
    return {
        "documentation": documentation,
        "names": names,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
    }


class Settings:
    """The part that configuration dataclasses share: building, converting, checking."""

    RESERVED: ClassVar[Mapping[str, str]] = {}  # dotted name: why it is refused today
    SPELLED_OUT: ClassVar[Mapping[str, str]] = {}  # dotted name: the one value that asks for nothing

    @classmethod
    def from_keywords(cls, values: Mapping[str, Any]) -> Self:
        """Build from snake_case names. Raises `ConfigurationError`."""
        return cls._build(values, {name.replace(".", "_"): known for name, known in _names(cls).items()}, "_")

    @classmethod
    def from_dotted(cls, values: Mapping[str, Any]) -> Self:
        """Build from Kafka's dotted names. Raises `ConfigurationError`."""
        return cls._build(values, _names(cls), ".")

    @classmethod
    def _build(cls, values: Mapping[str, Any], known: Mapping[str, Field[Any]], separator: str) -> Self:
        hints = get_type_hints(cls)
        arguments: dict[str, Any] = {}
        for name, value in values.items():
            dotted = name.replace("_", ".") if separator == "_" else name
            reason = cls.RESERVED.get(dotted)
            if reason is not None:
                if str(value).strip().upper() == cls.SPELLED_OUT.get(dotted):
                    continue
                raise ConfigurationError(f"{name}: {reason}")
            found = known.get(name)
            if found is None:
                raise ConfigurationError(_unknown(name, list(known)))
            if found.name in arguments:
                raise ConfigurationError(f"{name} is given twice, under two of its names")
            arguments[found.name] = _convert(name, value, hints[found.name], found)
        return cls(**arguments)


def _names(cls: type) -> dict[str, Field[Any]]:
    found: dict[str, Field[Any]] = {}
    for known in fields(cls):
        for name in (known.name.replace("_", "."), *known.metadata.get("names", ())):
            found[name] = known
    return found


def _unknown(name: str, known: list[str]) -> str:
    elsewhere = _CALLED_ELSEWHERE.get(name.replace("_", "."))
    near = [elsewhere] if elsewhere else difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"unknown setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _convert(name: str, value: Any, kind: Any, found: Field[Any]) -> Any:
    if kind is int:
        value = _to_int(name, value)
        low, high = found.metadata["minimum"], found.metadata["maximum"]
        if (low is not None and value < low) or (high is not None and value > high):
            bounds = f"at least {low}" if high is None else f"between {low} and {high}"
            raise ConfigurationError(f"{name}={value}: must be {bounds}")
    elif kind in (bool, bool | None):
        value = _to_bool(name, value)
    elif kind == str | None:
        value = _to_text(name, value)
    elif kind is str:
        value = _to_text(name, str(value))
        choices = found.metadata["choices"]
        if choices and value.lower() not in choices:
            raise ConfigurationError(f"{name}={value!r}: must be one of {', '.join(choices)}")
        value = value.lower() if choices else value
    return value


def _to_int(name: str, value: Any) -> int:
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        return int(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name}={value!r}: must be a whole number") from None


def _to_text(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{name}={value!r}: must be text, not {type(value).__name__}")
    try:
        (value or "").encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{name}={value!a}: no message can carry this: {error.reason}") from None
    return value


def _to_bool(name: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _TRUE + _FALSE:
        raise ConfigurationError(f"{name}={value!r}: must be true or false")
    return text in _TRUE
