"""How this node comes into its cluster: the shell around `raft.founding`.

It answers what others ask about it (`Quorum.Describe`), and, while its own quorum log is empty, asks every listed voter
again and again until the rule says what to do. Who is waited for is logged when it changes, and now and then. A node
whose log is not empty knows where it belongs; it asks too, so that a directory of another cluster is refused by name.

Invariant: what `answer` says is on disk: the directory id before the first answer, entry 0 before a foundation is
claimed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broker.quorum.log import QuorumLog
from kraftpy.errors import ConfigurationError, InconsistentClusterIdError
from kraftpy.runtime.ports import BadRequest, Clock, TransportError
from kraftpy.shown_ids import shown_id
from raft.events import NodeId, ReplicaKey
from raft.founding import (
    Answer,
    Conflict,
    Found,
    Foundation,
    ListedVoter,
    Observe,
    Verdict,
    Wait,
    as_listed,
    cluster_id_of,
    decide,
    misplaced,
    strangers_in,
)

logger = logging.getLogger(__name__)

ASK_TIMEOUT_MS = 1_000
PAUSE_MS = 50  # between two rounds at first, while nodes start together; doubles up to the next
PAUSE_MS_MAX = 500
ASKED_PAUSE_MS = 10  # before a round that the question of another node sets off
REMIND_MS = 10_000  # between two lines about the same voters
FIRST_LOOK_MS = 250  # what a restart waits at most for voters that say nothing; whoever listens answers far sooner
LOOK_PAUSE_MS = 5_000  # between two looks at listed voters that have not said where they belong

Describe = Callable[[ListedVoter, int], Awaitable[Answer]]
"""(voter, time-out in ms) → what it says about itself. Raises `TransportError`, `ValueError` for nonsense."""


class Founding:
    """One node's way in. `answer` at any time; `join` once."""

    def __init__(
        self,
        key: ReplicaKey,
        listed: tuple[ListedVoter, ...],
        log: QuorumLog,
        clock: Clock,
        describe: Describe,
        *,
        remembered_cluster_id: str | None,
        has_voted: bool,
    ) -> None:
        self._key = key
        self._listed = tuple(sorted(listed))
        self._log = log
        self._clock = clock
        self._describe = describe
        self._remembered = remembered_cluster_id
        self._has_voted = has_voted
        self._foundation: Foundation | None = None
        self._own: Foundation | None = None  # the same with the voters of the log's end, as they were at the start
        self._joined: str | None = None  # the cluster that it observes in this life
        self._neighbours: dict[NodeId, Answer] = {}  # who is in our cluster, as they said last
        self._told_strangers = False
        self._told_silent = ""
        self._somebody_asked = asyncio.Event()
        if not log.is_empty:
            voters = log.founding_voters
            cluster_id = remembered_cluster_id or (None if voters is None else cluster_id_of(voters))
            if cluster_id is None:
                raise ConfigurationError(
                    f"{log.directory} holds a quorum log, but meta.properties does not say of which cluster: restore "
                    "meta.properties, or give the node an empty data directory"
                )
            self._foundation = Foundation(cluster_id, voters)

    def answer(self) -> Answer:
        """What this node says about itself. An observer, too, tells whoever asks it where the cluster is founded."""
        self._somebody_asked.set()
        if self._foundation is None and self._joined is not None and not self._log.is_empty:
            self._foundation = Foundation(self._joined, self._log.founding_voters)
        return Answer(self._key, tuple(map(str, self._listed)), self._foundation)

    async def join(self) -> str:
        """The cluster's id, once this node knows where it belongs. Waits for as long as it takes.

        Raises `ConfigurationError` or `InconsistentClusterIdError` where waiting cannot help.
        """
        if self._foundation is not None:
            self._own = Foundation(self._foundation.cluster_id, self._log.voters)
            self._tell_other_voters(self._own)
            await self._look(self._own, FIRST_LOOK_MS)
            return self._own.cluster_id
        pause_ms, told, told_at_ms = PAUSE_MS, "", 0
        while True:
            match await self._ask_everybody():
                case Found(cluster_id, entry):
                    self._log.append([entry])
                    await self._log.flush()
                    voters = self._log.founding_voters
                    self._foundation = Foundation(cluster_id, voters)
                    logger.info("founded cluster %s with voters %s", cluster_id, ", ".join(map(str, self._listed)))
                    return cluster_id
                case Observe(cluster_id, replaced):
                    self._joined = cluster_id
                    self._tell_joined(cluster_id, replaced)
                    return cluster_id
                case Conflict(reason):
                    raise InconsistentClusterIdError(reason) if self._remembered else ConfigurationError(reason)
                case Wait() as wait:
                    now_ms = self._clock.monotonic_ms()
                    if str(wait) != told or now_ms - told_at_ms >= REMIND_MS:
                        told, told_at_ms = str(wait), now_ms
                        logger.info("%s: the first start of a cluster needs every voter", wait)
            await self._pause(pause_ms)
            pause_ms = min(pause_ms * 2, PAUSE_MS_MAX)

    async def keep_looking(self) -> None:
        """Once in a cluster: go on until every listed voter has said that it belongs there too.

        Raises `InconsistentClusterIdError` where this node's directory is the one that is out of place.
        """
        own = self._own or self._foundation
        while own is not None:
            await asyncio.sleep(LOOK_PAUSE_MS / 1_000)
            if await self._look(own, ASK_TIMEOUT_MS):
                return

    async def _look(self, own: Foundation, timeout_ms: int) -> bool:
        """Whether every other listed voter says that it belongs where this node does. Raises as `keep_looking`."""
        others = self._others()
        answers = await self._ask_each(others, timeout_ms)
        self._note_neighbours(own, answers)
        reason = misplaced(self._key.node_id, self._listed, own, {**self._neighbours, **answers})
        if reason is not None:
            raise InconsistentClusterIdError(reason)
        silent = ", ".join(str(voter) for voter in others if voter.node_id not in answers)
        if silent and silent != self._told_silent:
            logger.info("no answer yet from %s", silent)
        self._told_silent = silent
        strangers = strangers_in(own, answers)
        if strangers and not self._told_strangers:
            self._told_strangers = True
            logger.error(
                "a listed voter belongs to cluster %s, this node to %s: it has the data directory of another cluster, "
                "or was removed from this one and is to be taken out of controller.quorum.voters",
                ", ".join(strangers),
                own.cluster_id,
            )
        return not strangers and len(answers) == len(others) and all(each.foundation for each in answers.values())

    def _note_neighbours(self, own: Foundation, answers: dict[NodeId, Answer]) -> None:
        """Who said in this life that it is in our cluster: it may be down for a while."""
        for node_id, answer in answers.items():
            if answer.foundation is not None and answer.foundation.cluster_id == own.cluster_id:
                self._neighbours[node_id] = answer
            else:
                self._neighbours.pop(node_id, None)

    async def _ask_everybody(self) -> Verdict:
        told = await self._ask_each(self._others(), ASK_TIMEOUT_MS)
        return decide(self._key, self._listed, told, remembered_cluster_id=self._remembered, has_voted=self._has_voted)

    def _others(self) -> list[ListedVoter]:
        return [voter for voter in self._listed if voter.node_id != self._key.node_id]

    async def _ask_each(self, voters: list[ListedVoter], timeout_ms: int) -> dict[NodeId, Answer]:
        """What those say who answer in time."""
        answers = await asyncio.gather(*[self._ask(voter, timeout_ms) for voter in voters])
        return {voter.node_id: answer for voter, answer in zip(voters, answers, strict=True) if answer is not None}

    async def _ask(self, voter: ListedVoter, timeout_ms: int) -> Answer | None:
        try:
            return await self._describe(voter, timeout_ms)
        except (TransportError, ValueError) as error:
            logger.debug("node %s does not answer: %s", voter, error)
            return None

    async def _pause(self, pause_ms: int) -> None:
        """Whoever asks about us is there to be asked: then the next round begins at once."""
        try:
            async with asyncio.timeout(pause_ms / 1_000):
                await self._somebody_asked.wait()
            await asyncio.sleep(ASKED_PAUSE_MS / 1_000)
        except TimeoutError:
            pass
        self._somebody_asked.clear()

    def _tell_joined(self, cluster_id: str, replaced: ReplicaKey | None) -> None:
        logger.info("joining cluster %s, which exists, as an observer of its quorum", cluster_id)
        if replaced is not None:
            old, own = shown_id(replaced.directory_id.bytes), shown_id(self._key.directory_id.bytes)
            logger.error(
                "node %d is a voter of cluster %s, but with the directory %s, not with this one (%s): was its disk "
                "wiped? It serves as a broker and does not vote. If the old directory is gone for good, replace it: "
                "type, one after the other (-b with any node that runs): kraftpy quorum remove %d --directory-id %s; "
                "then: kraftpy quorum add %d --directory-id %s. Otherwise stop this node and restore the directory",
                replaced.node_id,
                cluster_id,
                old,
                own,
                replaced.node_id,
                old,
                replaced.node_id,
                own,
            )
        elif any(voter.node_id == self._key.node_id for voter in self._listed):
            logger.warning(
                "node %d is listed as a voter, but with this data directory it is none of cluster %s: it observes and "
                "does not vote until somebody types: kraftpy quorum add %d (-b with any node that runs)",
                self._key.node_id,
                cluster_id,
                self._key.node_id,
            )

    def _tell_other_voters(self, own: Foundation) -> None:
        """The log says who votes; what the operator lists is only where to ask."""
        listed = ", ".join(map(str, self._listed))
        told = ", ".join(map(str, map(as_listed, own.voters.voters if own.voters is not None else ())))
        if told not in ("", listed):
            logger.warning("controller.quorum.voters says %s, but the voters of this node's log are %s", listed, told)


def refuse_other_cluster(asked: str, own: str | None) -> None:
    """A message of another cluster is not for us. Raises `BadRequest`."""
    if own is None or asked != own:
        raise BadRequest(
            f"the message is for cluster {asked or '(none)'}, this node belongs to {own or 'none yet'}: "
            "are the addresses of two clusters mixed up?"
        )
