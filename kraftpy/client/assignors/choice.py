"""Which assignors a setting names."""

from collections.abc import Sequence
from typing import Any, cast

from kraftpy.client.assignors.model import Assignor
from kraftpy.client.assignors.range import RangeAssignor
from kraftpy.client.assignors.round_robin import RoundRobinAssignor
from kraftpy.client.assignors.sticky import CooperativeStickyAssignor, StickyAssignor
from kraftpy.errors import ConfigurationError

DEFAULT_ASSIGNORS = ("range", "cooperative-sticky")
"""Kafka's: range, and ready for the day on which a rolling restart takes range away (KIP-726)."""

_KNOWN: dict[str, type[Any]] = {
    assignor.name: assignor
    for assignor in (RangeAssignor, RoundRobinAssignor, StickyAssignor, CooperativeStickyAssignor)
}
_JAVA = {assignor.__name__: assignor for assignor in _KNOWN.values()}


def assignors_of(choice: Any) -> tuple[Assignor, ...]:
    """The assignors, best first, of names (Kafka's class names too, several separated by commas) or of objects.

    Raises `ConfigurationError`.
    """
    if isinstance(choice, str):
        choice = [piece.strip() for piece in choice.split(",") if piece.strip()]
    elif not isinstance(choice, Sequence):
        choice = [choice]
    found = tuple(_assignor(one) for one in choice)
    if not found:
        raise ConfigurationError("assignors names none; choose some of " + ", ".join(_KNOWN))
    if len({assignor.name for assignor in found}) < len(found):
        raise ConfigurationError("assignors names one of them twice")
    return found


def _assignor(one: Any) -> Assignor:
    if isinstance(one, type):
        one = one()
    if not isinstance(one, str):
        if all(hasattr(one, part) for part in ("name", "is_cooperative", "user_data", "assign")):
            return cast(Assignor, one)
        raise ConfigurationError(f"assignor {one!r} lacks name, is_cooperative, user_data or assign")
    found = _KNOWN.get(one.lower()) or _JAVA.get(one.rpartition(".")[2])
    if found is None:
        raise ConfigurationError(f"assignor {one!r} is not known; choose some of {', '.join(_KNOWN)}")
    return cast(Assignor, found())
