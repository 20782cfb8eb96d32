"""The groups of one coordinator, by their ids."""

from collections.abc import Iterator

from broker.coordinator.groups.classic_group import ClassicGroup


class Groups:
    """Soft, as the groups are."""

    def __init__(self) -> None:
        self._groups: dict[str, ClassicGroup] = {}

    def classic(self, group_id: str) -> ClassicGroup | None:
        return self._groups.get(group_id)

    def add(self, group: ClassicGroup) -> None:
        """Idempotent."""
        assert self._groups.setdefault(group.group_id, group) is group

    def remove(self, group_id: str) -> None:
        self._groups.pop(group_id, None)

    def all(self) -> Iterator[ClassicGroup]:
        return iter(list(self._groups.values()))
