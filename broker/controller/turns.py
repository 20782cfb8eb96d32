"""Commands of a broker that may undo each other are taken in the order in which it sent them.

A call may wait in a connection that was cut, be repeated to another controller, and arrive when what followed it has
been answered, too: the mended replica is marked as offline then, or joins an in-sync set that has gone on without it.
The broker, which has told everything, does not tell it again. So such a command is for the controller of one epoch, and
numbered. Brokers of older releases number nothing, and are taken as they come.
"""

from broker.controller.commands import AlterPartition, ReportReplicas
from kraftpy.errors import InvalidRequestError, NotControllerError


class Turns:
    """Of one epoch, through which they last, however often its controller begins anew."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._taken: dict[tuple[type, int], tuple[int, int]] = {}  # of a kind and broker, the last one's

    def take(self, command: AlterPartition | ReportReplicas) -> None:
        """`command` is of its broker's present life. Raises `NotControllerError`, `InvalidRequestError`: it is late."""
        if not command.controller_epoch:
            return
        if command.controller_epoch != self.epoch:
            raise NotControllerError(
                f"this is for the controller of epoch {command.controller_epoch}, and here is that of {self.epoch}"
            )
        kind, turn = (type(command), command.broker_id), (command.broker_epoch, command.number)
        if turn <= self._taken.get(kind, (-1, 0)):
            raise InvalidRequestError(f"call {command.number} of broker {command.broker_id} comes after a later one")
        self._taken[kind] = turn
