"""Members of consumer groups as the clients of Kafka are, and what must hold between them."""

from typing import Any
from uuid import UUID

from broker.coordinator.groups.commands import (
    JOINS,
    LEAVES,
    LEAVES_FOR_A_WHILE,
    ConsumerGroupDescription,
    ConsumerHeartbeat,
    ConsumerHeartbeatAnswer,
    DescribeConsumerGroup,
    MemberKey,
)
from broker.coordinator.groups.consumer_group import places
from broker.coordinator.groups.consumer_records import Place
from kraftpy.errors import FencedMemberEpochError, UnknownMemberIdError
from tests.coordinator.groups.stage import GROUP, Stage


class Member:
    """It does what the coordinator says: gives up at once what it has no more, and then says so. When an answer did not
    come, it says everything with its next heartbeat."""

    def __init__(self, stage: Stage, member_id: str, instance_id: str | None = None, **says: Any) -> None:
        self.stage = stage
        self.member_id = member_id
        self.instance_id = instance_id
        self.says = {"topics": ("t",), "rebalance_timeout_ms": 60_000, **says}
        self.epoch = JOINS
        self.owned: dict[UUID, tuple[int, ...]] = {}
        self.answer: Any = None
        self.says_all = True

    @property
    def places(self) -> list[Place]:
        return sorted(places(self.owned))

    @property
    def partitions(self) -> list[int]:
        """Of the topic `t`."""
        return list(self.owned.get(self.stage.topics.id_of("t"), ()))

    def command(self, epoch: int, **changes: Any) -> ConsumerHeartbeat:
        values: dict[str, Any] = {
            "group_id": GROUP,
            "member": MemberKey(self.member_id, self.instance_id),
            "epoch": epoch,
            "client_id": "c",
            "client_host": "/127.0.0.1",
            "owned": dict(self.owned),
            **(self.says if epoch == JOINS or self.says_all else {}),
            **changes,
        }
        return ConsumerHeartbeat(**values)

    def beat(self, *, loses_answer: bool = False, **changes: Any) -> Any:
        """One heartbeat, the answer of which counts unless it is lost."""
        answer = self.stage.ask(self.command(self.epoch, **changes))
        self.says_all = loses_answer or not isinstance(answer, ConsumerHeartbeatAnswer)
        if not loses_answer:
            self.take(answer)
        return answer

    def take(self, answer: Any) -> None:
        self.answer = answer
        if isinstance(answer, ConsumerHeartbeatAnswer):
            self.member_id, self.epoch = answer.member_id, answer.epoch
            if answer.assignment is not None:
                self.owned = dict(answer.assignment)
        elif isinstance(answer, FencedMemberEpochError | UnknownMemberIdError):
            self.forget()

    def forget(self) -> None:
        self.epoch, self.owned = JOINS, {}

    def leave(self, *, for_a_while: bool = False) -> Any:
        answer = self.stage.ask(self.command(LEAVES_FOR_A_WHILE if for_a_while else LEAVES))
        self.forget()
        return answer


def settle(*members: Member) -> None:
    """Heartbeats until nobody is told anything new."""
    for _ in range(20):
        before = [(member.epoch, member.places) for member in members]
        for member in members:
            member.beat()
        if before == [(member.epoch, member.places) for member in members]:
            return
    raise AssertionError("the group does not come to rest")


def check_owners(*members: Member) -> None:
    """No partition is read by two."""
    owned = [place for member in members for place in member.places]
    assert len(owned) == len(set(owned)), "two members have the same partition"


def described(stage: Stage) -> ConsumerGroupDescription:
    answer = stage.ask(DescribeConsumerGroup(GROUP))
    assert isinstance(answer, ConsumerGroupDescription), answer
    return answer


def pair() -> tuple[Stage, Member, Member]:
    """Two members at rest, which share the topic."""
    stage = Stage()
    one, two = Member(stage, "one"), Member(stage, "two")
    one.beat()
    two.beat()
    settle(one, two)
    assert (len(one.partitions), len(two.partitions)) == (2, 2)
    return stage, one, two
