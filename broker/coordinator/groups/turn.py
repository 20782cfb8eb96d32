"""One turn of the core: the moment, and what was decided in it."""

from collections.abc import Callable
from typing import Any

from broker.coordinator.core import Answer, Moment, Producer, Result, Ticket
from broker.coordinator.groups.consumer_group import ConsumerGroup
from broker.coordinator.groups.consumer_records import ConsumerRecord
from broker.coordinator.groups.records import GroupsRecord
from kraftpy.errors import KraftpyError


class Turn:
    """Filled while one command, or what is due, is handled."""

    def __init__(self, now: Moment) -> None:
        self.now = now
        self.records: list[GroupsRecord] = []
        self.producer: Producer | None = None
        self.drafts: dict[str, ConsumerGroup] = {}
        """Consumer groups as they will be once the records are replayed, by id: see `Draft`."""
        self._answers: list[Answer] = []
        self._written: dict[Ticket, None] = {}  # whose answers are true only if the records are written
        self._undo: list[Callable[[Turn, KraftpyError], None]] = []

    def answer(self, ticket: Ticket, response: Any) -> None:
        """True whatever becomes of the records."""
        self._answers.append(Answer(ticket, response))

    def answer_written(self, ticket: Ticket, response: Any) -> None:
        """True if the records are written."""
        self.waits_for_records(ticket)
        self.answer(ticket, response)

    def waits_for_records(self, ticket: Ticket) -> None:
        """Whatever answer this turn gives to it is true only if the records are written."""
        self._written[ticket] = None

    def if_refused(self, undo: Callable[["Turn", KraftpyError], None]) -> None:
        """What takes soft changes back; it is given another turn, in which it may not write records."""
        self._undo.append(undo)

    def result(self) -> Result[GroupsRecord]:
        return Result(tuple(self.records), tuple(self._answers), (), self.producer)

    def refuse(self, error: KraftpyError) -> Result[GroupsRecord]:
        """The records are not in the log."""
        again = Turn(self.now)
        for ticket, response in self._answers:
            again.answer(ticket, error if ticket in self._written else response)
        for undo in self._undo:
            undo(again, error)
        assert not again.records, "what follows a refusal waits for another turn"
        return again.result()


class Draft:
    """A consumer group while a turn decides about it: what is written shows at once here, and only here."""

    def __init__(self, group: ConsumerGroup, turn: Turn) -> None:
        """`group` as it stands in the log, or new."""
        self._group = turn.drafts.get(group.group_id, group)
        self._turn = turn

    @property
    def group(self) -> ConsumerGroup:
        """To be looked at, and again after each `write`."""
        return self._group

    def write(self, record: ConsumerRecord) -> None:
        if self._group.group_id not in self._turn.drafts:
            self._group = self._turn.drafts[self._group.group_id] = self._group.copy()
        self._turn.records.append(record)
        self._group.replay(record)
