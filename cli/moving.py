"""Moves as commands make them: begun, watched, and their throttle taken away again.

A move that was begun is the cluster's: it goes on when the command is interrupted.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kraftpy import Admin
    from kraftpy.client.admin_values import PartitionReassignment, ReassignmentResult
    from kraftpy.client.balancing import PlannedMove

Place = tuple[str, int]

SURE_S = 0.2  # between the two looks that say that nothing moves
LOOK_S = 0.5  # between two looks at what moves
MOVING_MAX = 50  # partitions of a plan that move together
LINE_S = 5.0  # between two lines of progress where nobody sits at a terminal
SILENCE_S = 60.0  # for so long the cluster may be without an answer while it is watched


def begin(client: "Admin", wanted: Mapping[Place, Sequence[int] | None], throttle: int | None, timeout: float) -> None:
    """Begin these moves. Raises the first refusal, after all have been tried."""
    moves = [] if throttle is None else _planned(client, wanted, timeout)
    try:
        if throttle is not None:
            client.throttle_replication(moves, throttle, timeout=timeout)
        if wanted:
            raise_refusal(client.alter_partition_reassignments(wanted, timeout=timeout))
    except BaseException:
        if throttle is not None:
            client.unthrottle_replication(timeout=timeout)
        raise


def wait_for_moves(client: "Admin", places: Sequence[Place], throttle: int | None, timeout: float) -> None:
    """Wait until none of them moves, with a line of progress; then the throttle goes."""
    progress = Progress(len(places))
    try:
        while moving := _moving(client, places, timeout):
            progress.show(moving)
            time.sleep(LOOK_S)
    finally:
        progress.end()
        if throttle is not None:
            client.unthrottle_replication(timeout=timeout)


def carry_out(client: "Admin", moves: Sequence["PlannedMove"], throttle: int | None, timeout: float) -> None:
    """Make a plan true, a bounded number of partitions at a time, and give leaderships to whom they are planned for."""
    waiting = list(moves)
    progress = Progress(len(moves))
    under_way: list[Place] = []
    try:
        if throttle is not None:
            client.throttle_replication(moves, throttle, timeout=timeout)
        while waiting or under_way:
            still = _moving(client, under_way, timeout)
            under_way = [(each.topic, each.partition) for each in still]
            begun = waiting[: MOVING_MAX - len(under_way)]
            waiting = waiting[len(begun) :]
            if begun:
                wanted = {(move.topic, move.partition): move.after for move in begun}
                results = client.alter_partition_reassignments(wanted, timeout=timeout)
                raise_refusal([result for result in results if result.error != "UNKNOWN_TOPIC_OR_PARTITION"])
                under_way += list(wanted)  # a topic that was deleted meanwhile does not move
            else:
                progress.show(still, len(waiting))
                time.sleep(LOOK_S)
    finally:
        progress.end()
        if throttle is not None:
            client.unthrottle_replication(timeout=timeout)
    places = [(move.topic, move.partition) for move in moves]
    client.elect_leaders(places, timeout=timeout)  # who cannot lead yet gets it back by itself, later


def raise_refusal(results: Sequence["ReassignmentResult"]) -> None:
    """Raise the first that was refused, with its partition's name."""
    from kraftpy.error_codes import error_named

    for result in results:
        if result.error:
            raise error_named(result.error, f"{result.topic}-{result.partition}: {result.message}")


def _planned(client: "Admin", wanted: Mapping[Place, Sequence[int] | None], timeout: float) -> list["PlannedMove"]:
    """Those of `wanted` that are not cancelled, with where they are now, of partitions that there are."""
    from kraftpy.client.balancing import PlannedMove

    topics = {topic.name: topic for topic in client.describe_topics(timeout=timeout)}
    return [
        PlannedMove(*place, topics[place[0]].partitions[place[1]].replicas, tuple(to))
        for place, to in wanted.items()
        if to is not None and place[0] in topics and place[1] < len(topics[place[0]].partitions)
    ]


def _moving(client: "Admin", places: Sequence[Place], timeout: float) -> list["PartitionReassignment"]:
    """Those of `places` that move. A cluster that is busy with a failover is asked again for a while.

    That nothing moves is believed the second time: after a failover another node answers, which may lag for a moment.
    """
    from kraftpy.errors import CallTimeoutError, NoBrokersAvailableError, NotControllerError

    wanted = frozenset(places)
    deadline_s = time.monotonic() + SILENCE_S
    while True:
        try:
            for pause_s in (0.0, SURE_S):
                time.sleep(pause_s)
                moving = client.list_partition_reassignments(timeout=timeout) if places else []
                named = [each for each in moving if (each.topic, each.partition) in wanted]
                if named or not places:
                    break
            return named
        except (CallTimeoutError, NoBrokersAvailableError, NotControllerError):
            if time.monotonic() > deadline_s:
                raise
            time.sleep(LOOK_S)


class Progress:
    """A line on stderr, written over itself at a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._width = 0
        self._shown_s = 0.0

    def show(self, moving: Sequence["PartitionReassignment"], waiting: int = 0) -> None:
        """`waiting`: moves that have not begun."""
        now_s = time.monotonic()
        if not self._terminal and now_s - self._shown_s < LINE_S:
            return
        self._shown_s = now_s
        done = self._total - len(moving) - waiting
        lag = sum(each.bytes_lag for each in moving)
        line = f"{done} of {self._total} partitions moved, {lag / 1e6:.1f} MB to copy for the {len(moving)} under way"
        if self._terminal:
            sys.stderr.write("\r" + line.ljust(self._width))
            self._width = len(line)
            sys.stderr.flush()
        else:
            typer.echo(line, err=True)

    def end(self) -> None:
        if self._terminal and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
