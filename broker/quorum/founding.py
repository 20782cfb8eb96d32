"""How this node comes into its cluster: the shell around `raft.founding`.

It answers what others ask about it (`Quorum.Describe`), and, while its own quorum log is empty, asks every listed voter
again and again until the rule says what to do. Who is waited for is logged when it changes, and now and then.

Invariant: what `answer` says is on disk: the directory id before the first answer, entry 0 before a foundation is
claimed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from broker.quorum.log import QuorumLog
from kraftpy.errors import ConfigurationError, InconsistentClusterIdError
from kraftpy.runtime.ports import BadRequest, Clock, TransportError
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
    cluster_id_of,
    decide,
)

logger = logging.getLogger(__name__)

ASK_TIMEOUT_MS = 1_000
PAUSE_MS = 50  # between two rounds at first, while nodes start together; doubles up to the next
PAUSE_MS_MAX = 500
REMIND_MS = 10_000  # between two lines about the same voters

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
        """What this node says about itself."""
        self._somebody_asked.set()
        return Answer(self._key, tuple(map(str, self._listed)), self._foundation)

    async def join(self) -> str:
        """The cluster's id, once this node knows where it belongs. Waits for as long as it takes.

        Raises `ConfigurationError` or `InconsistentClusterIdError` where waiting cannot help.
        """
        if self._foundation is not None:
            return self._foundation.cluster_id
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

    async def _ask_everybody(self) -> Verdict:
        others = [voter for voter in self._listed if voter.node_id != self._key.node_id]
        answers = await asyncio.gather(*[self._ask(voter) for voter in others])
        told: dict[NodeId, Answer] = {}
        for voter, answer in zip(others, answers, strict=True):
            if answer is not None:
                told[voter.node_id] = answer
        return decide(self._key, self._listed, told, remembered_cluster_id=self._remembered, has_voted=self._has_voted)

    async def _ask(self, voter: ListedVoter) -> Answer | None:
        try:
            return await self._describe(voter, ASK_TIMEOUT_MS)
        except (TransportError, ValueError) as error:
            logger.debug("node %s does not answer: %s", voter, error)
            return None

    async def _pause(self, pause_ms: int) -> None:
        """Whoever asks about us is there to be asked: then the next round begins at once."""
        try:
            async with asyncio.timeout(pause_ms / 1_000):
                await self._somebody_asked.wait()
            await asyncio.sleep(PAUSE_MS / 1_000 / 5)
        except TimeoutError:
            pass
        self._somebody_asked.clear()

    def _tell_joined(self, cluster_id: str, replaced: ReplicaKey | None) -> None:
        logger.info("joining cluster %s, which exists, as an observer of its quorum", cluster_id)
        if replaced is not None:
            logger.error(
                "node %d is a voter of cluster %s, but with the directory %s, not with this one (%s): was its disk "
                "wiped? It serves as a broker and does not vote. Restore the old data directory if there is one; "
                "replacing a voter is not possible yet",
                replaced.node_id,
                cluster_id,
                replaced.directory_id,
                self._key.directory_id,
            )


def refuse_other_cluster(asked: str, own: str | None) -> None:
    """A message of another cluster is not for us. Raises `BadRequest`."""
    if own is None or asked != own:
        raise BadRequest(
            f"the message is for cluster {asked or '(none)'}, this node belongs to {own or 'none yet'}: "
            "are the addresses of two clusters mixed up?"
        )
