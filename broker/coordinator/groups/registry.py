"""The groups of one coordinator, by their ids: a group has one type at a time."""

from collections.abc import Iterator

from broker.coordinator.groups.classic_group import ClassicGroup
from broker.coordinator.groups.consumer_group import ConsumerGroup
from broker.coordinator.groups.consumer_records import (
    ConsumerGroupRecord,
    ConsumerMemberRecord,
    ConsumerRecord,
    CurrentAssignmentRecord,
    PatternRecord,
    TargetEpochRecord,
    TargetRecord,
)

AnyGroup = ClassicGroup | ConsumerGroup


class Groups:
    """Classic groups are soft; consumer groups are what was replayed."""

    def __init__(self) -> None:
        self._classic: dict[str, ClassicGroup] = {}
        self._consumer: dict[str, ConsumerGroup] = {}

    def classic(self, group_id: str) -> ClassicGroup | None:
        return self._classic.get(group_id)

    def consumer(self, group_id: str) -> ConsumerGroup | None:
        return self._consumer.get(group_id)

    def any(self, group_id: str) -> AnyGroup | None:
        return self._consumer.get(group_id) or self._classic.get(group_id)

    def add(self, group: ClassicGroup) -> None:
        """Idempotent."""
        assert self._classic.setdefault(group.group_id, group) is group

    def remove(self, group_id: str) -> None:
        """The classic group."""
        self._classic.pop(group_id, None)

    def all(self) -> Iterator[AnyGroup]:
        return iter([*self._classic.values(), *self._consumer.values()])

    def consumers(self) -> Iterator[ConsumerGroup]:
        return iter(list(self._consumer.values()))

    def replay(self, record: ConsumerRecord) -> None:
        """What is said of a consumer group. A deletion makes none."""
        if isinstance(record, ConsumerGroupRecord) and record.value is None:
            self._consumer.pop(record.group_id, None)
            return
        group = self._consumer.get(record.group_id)
        if group is None:
            if _is_deletion(record):
                return
            group = self._consumer[record.group_id] = ConsumerGroup(record.group_id)
        group.replay(record)


def _is_deletion(record: ConsumerRecord) -> bool:
    match record:
        case TargetEpochRecord(_, content) | ConsumerGroupRecord(_, content):
            return content is None
        case (
            ConsumerMemberRecord(_, _, content)
            | TargetRecord(_, _, content)
            | CurrentAssignmentRecord(_, _, content)
            | PatternRecord(_, _, content)
        ):
            return content is None
