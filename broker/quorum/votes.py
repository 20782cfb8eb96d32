"""The vote of this replica on disk: `quorum-state`, beside the quorum's log, as JSON with Kafka's names.

Written atomically and durably (KAFKA-16541), so after a crash it is the old vote or the new one.
"""

import asyncio
import json
from functools import partial
from uuid import UUID

from broker.quorum.log import ADVICE
from kraftpy.errors import KafkaStorageError
from kraftpy.runtime.ports import Disk
from raft.events import Epoch, NodeId, PersistVote, ReplicaKey

QUORUM_STATE = "quorum-state"


class QuorumStateFile:
    """`raft.ports.VoteStore` on a disk. `directory` exists."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._path = f"{directory}/{QUORUM_STATE}"
        self._saving: asyncio.Future[None] | None = None  # the last

    async def load(self, log_epoch: Epoch = Epoch(0)) -> PersistVote | None:
        """None before the first vote. `log_epoch` is the last of the log beside it.

        Raises `KafkaStorageError` for a file that cannot be read, or is older than the log, and `OSError`.
        """
        vote = await self._read() if self._disk.exists(self._path) else None
        if log_epoch > (Epoch(0) if vote is None else vote.epoch):
            what = "is missing" if vote is None else f"is of epoch {vote.epoch}"
            raise self._lost(f"{what}, and the log beside it of epoch {log_epoch}")
        return vote

    async def _read(self) -> PersistVote:
        data = await self._disk.run(partial(self._disk.read_bytes, self._path))
        try:
            return _decode(json.loads(data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._lost(f"is damaged ({error})") from error

    def _lost(self, why: str) -> KafkaStorageError:
        return KafkaStorageError(
            f"{self._path} {why}: this replica no longer knows how it voted, so it cannot vote again under its name. "
            f"{ADVICE}"
        )

    async def save(self, vote: PersistVote) -> None:
        self._saving = asyncio.ensure_future(
            self._disk.run(partial(self._disk.write_atomically, self._path, _encode(vote)))
        )
        await asyncio.shield(self._saving)

    async def settle(self) -> None:
        """Return once nothing is written any more, also for a caller that was cancelled: its thread goes on, and must
        have ended before another process may have the directory."""
        if self._saving is not None:
            await asyncio.gather(self._saving, return_exceptions=True)


def _encode(vote: PersistVote) -> bytes:
    values = {
        "leaderId": -1 if vote.leader_id is None else vote.leader_id,
        "leaderEpoch": vote.epoch,
        "votedId": -1 if vote.voted is None else vote.voted.node_id,
        "votedDirectoryId": None if vote.voted is None else str(vote.voted.directory_id),
        "data_version": 1,
    }
    return json.dumps(values).encode()


def _decode(values: dict[str, object]) -> PersistVote:
    numbers = {name: _number(values[name]) for name in ("leaderId", "leaderEpoch", "votedId", "data_version")}
    if numbers["data_version"] != 1:
        raise ValueError(f"data_version {numbers['data_version']} is not known")
    leader_id, voted_id = numbers["leaderId"], numbers["votedId"]
    voted = None if voted_id < 0 else ReplicaKey(NodeId(voted_id), UUID(str(values["votedDirectoryId"])))
    return PersistVote(Epoch(numbers["leaderEpoch"]), voted, None if leader_id < 0 else NodeId(leader_id))


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is no number")
    return value
