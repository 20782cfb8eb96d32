"""Recognises the situations of `table` in a trace, line by line, and counts them.

A situation is counted once for each line that completes it. Hosts that run a broker are called n1, n2 and so on, as
`simulation.cluster` calls them; what clients do is told by other kinds of lines.

Invariant: what it says follows from the lines alone.
"""

from collections.abc import Callable, Mapping

from log_store.file_names import QUORUM_LOG
from simulation.situations.memory import NEVER_US, Memory, Node, Partition
from simulation.situations.table import SITUATIONS

HEARTBEAT_MS = 700  # of members
MOMENT_US = 500_000
SOON_US = 1_000_000
DOUBLE_US = 2_000_000
LONG_US = 3_000_000
_CALLS = "/kraftpy.pb."


class Recognizer:
    """`note` is told every line; `counts` has what was recognised, in the order of the table once sorted by it."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._memory = Memory()
        self._tellers: Mapping[str, Callable[[int, tuple[str, ...]], None]] = {
            "start": self._start,
            "kill": lambda at, words: self._die(at, words[0], "killed"),
            "power-failure": lambda at, words: self._die(at, words[0], "lost-power"),
            "exit": self._exit,
            "stop": self._stop,
            "pause": self._pause,
            "resume": self._resume,
            "block": self._block,
            "unblock": lambda at, words: self._unblock(words[0], words[1]),
            "quorum-leader": self._elected,
            "broker": self._broker,
            "partition": self._partition,
            "topic-created": self._topic_created,
            "topic-deleted": self._topic_deleted,
            "cut": self._cut,
            "call": self._call,
            "disk-crash": lambda at, words: self._see(_DISK_CRASHES[words[1]]),
            "disk-fault": self._disk_fault,
            "disk-wiped": lambda at, words: self._disk_wiped(words[0]),
            "stopped-by-its-disk": lambda at, words: self._see("node-ended-by-its-disk"),
            "clock-jump": self._clock_jump,
            "clock-drift": lambda at, words: self._see("clock-drifts", words[1] != "0"),
            "undelivered": lambda at, words: self._see("send-given-up"),
            "not-sent": lambda at, words: self._see("send-given-up"),
            "admin-failed": lambda at, words: self._see("topic-change-unanswered"),
            "poll-failed": lambda at, words: self._see("poll-failed"),
            "callback": lambda at, words: self._see("callback-outlasts-heartbeat", int(words[2]) > HEARTBEAT_MS),
            "lost": self._lost,
        }

    def note(self, at_us: int, kind: str, details: tuple[object, ...]) -> None:
        """One line of a trace, as `Loop.on_trace` gives it."""
        teller = self._tellers.get(kind)
        if teller is not None:
            teller(at_us, tuple(map(str, details)))

    def _see(self, name: str, happens: bool = True) -> None:
        assert name in SITUATIONS, name
        if happens:
            self.counts[name] = self.counts.get(name, 0) + 1

    def _node(self, host: str) -> Node | None:
        """None: it runs no broker."""
        return self._memory.nodes.get(host)

    # --- lives -------------------------------------------------------------------------------------------------------

    def _start(self, at: int, words: tuple[str, ...]) -> None:
        host, number = words
        memory = self._memory
        if not (host[:1] == "n" and host[1:].isdigit()):
            return
        if number != "1":
            self._see("last-of-a-minority-back", memory.dead() == [host] and self._others_died_too(at, host))
        node = memory.nodes.setdefault(host, Node())
        node.is_alive, node.is_paused, node.is_stopping, node.is_registered = True, False, False, False

    def _others_died_too(self, at: int, host: str) -> bool:
        return any(at - node.died_us < 30_000_000 for name, node in self._memory.nodes.items() if name != host)

    def _die(self, at: int, host: str, how: str) -> None:
        node, memory = self._node(host), self._memory
        if node is None:
            return
        leads = memory.led_by(host)
        if memory.leader == host:
            self._see(f"quorum-leader-{how}")
            self._see("leader-died-after-voters-changed", at - memory.voters_changed_us < DOUBLE_US)
        if leads:
            self._see(f"partition-leader-{how}")
        self._see("died-while-starting", not node.is_registered)
        self._see("died-while-stopping", node.is_stopping)
        self._see("died-after-truncation", at - node.cut_us < MOMENT_US)
        self._see("snapshot-receiver-died", at - node.fetched_snapshot_us < MOMENT_US)
        self._see(
            "snapshot-sender-died",
            any(
                other.fetched_snapshot_from == host and at - other.fetched_snapshot_us < MOMENT_US
                for other in memory.nodes.values()
            ),
        )
        for name in leads:
            partition = memory.partitions[name]
            self._see("leader-died-after-shrink", at - partition.shrank_us < SOON_US)
            self._see("leader-died-after-growth", at - partition.grew_us < SOON_US)
        for partition in memory.partitions.values():
            self._see("last-in-sync-died", partition.isr == (host[1:],))
            if partition.is_moving:
                self._see("new-replica-died-in-mid-move", host[1:] in partition.adding)
                self._see("died-in-mid-move", host[1:] in partition.replicas)
        self._gone(at, node)

    def _gone(self, at: int, node: Node) -> None:
        node.is_alive, node.died_us, node.is_stopping, node.is_paused = False, at, False, False
        dead, all_nodes = len(self._memory.dead()), len(self._memory.nodes)
        self._see("quorum-majority-dead", 2 * dead > all_nodes > 1)
        self._see("everybody-dead", dead == all_nodes > 1)

    def _exit(self, at: int, words: tuple[str, ...]) -> None:
        node = self._node(words[0])
        if node is not None:
            self._see("controlled-shutdown", node.is_stopping)
            self._gone(at, node)

    def _stop(self, at: int, words: tuple[str, ...]) -> None:
        node = self._node(words[0])
        if node is not None:
            node.is_stopping = True
            self._see("quorum-leader-stopped", self._memory.leader == words[0])
            self._see("partition-leader-stopped", bool(self._memory.led_by(words[0])))

    def _pause(self, at: int, words: tuple[str, ...]) -> None:
        node = self._node(words[0])
        if node is not None and not node.is_paused:
            node.is_paused = True
            node.led_the_quorum = self._memory.leader == words[0]
            node.led_partitions = tuple(self._memory.led_by(words[0]))
            self._see("quorum-leader-paused", node.led_the_quorum)
            self._see("partition-leader-paused", bool(node.led_partitions))

    def _resume(self, at: int, words: tuple[str, ...]) -> None:
        node = self._node(words[0])
        if node is not None and node.is_paused:
            node.is_paused = False
            self._see("quorum-leader-back-too-late", node.led_the_quorum and self._memory.leader != words[0])
            led = [self._memory.partitions.get(name) for name in node.led_partitions]
            self._see("partition-leader-back-too-late", any(each and f"n{each.leader}" != words[0] for each in led))

    # --- links and clocks --------------------------------------------------------------------------------------------

    def _block(self, at: int, words: tuple[str, ...]) -> None:
        source, target, how = words
        memory = self._memory
        if source not in memory.nodes or target not in memory.nodes:
            return
        reached_a_majority = memory.reaches_a_majority(memory.leader)
        memory.blocks[source, target] = how
        self._see("clogged", how == "hold")
        self._see("both-ways-cut" if (target, source) in memory.blocks else "one-way-cut")
        self._see("quorum-leader-cut-off", reached_a_majority and not memory.reaches_a_majority(memory.leader))
        self._see("snapshot-cut-off", self._is_sending_a_snapshot(at, source, target))
        for one, other in ((source, target), (target, source)):
            if other == memory.leader and any(
                any(f"n{follower}" != one and not memory.is_cut(one, f"n{follower}") for follower in partition.isr)
                for partition in (memory.partitions[name] for name in memory.led_by(one))
            ):
                self._see("partition-leader-without-controller")

    def _is_sending_a_snapshot(self, at: int, one: str, other: str) -> bool:
        nodes = self._memory.nodes
        return any(
            nodes[receiver].fetched_snapshot_from == sender and at - nodes[receiver].fetched_snapshot_us < MOMENT_US
            for receiver, sender in ((one, other), (other, one))
        )

    def _unblock(self, source: str, target: str) -> None:
        self._memory.blocks.pop((source, target), None)

    def _clock_jump(self, at: int, words: tuple[str, ...]) -> None:
        self._see("clock-back", words[1].startswith("-"))
        self._see("clock-of-the-quorum-leader", self._memory.leader == words[0])

    # --- the quorum --------------------------------------------------------------------------------------------------

    def _elected(self, at: int, words: tuple[str, ...]) -> None:
        memory, host = self._memory, words[0].partition(".")[0]
        before, memory.leader = memory.leader, host
        if before:
            self._see("quorum-election")
            self._see("quorum-leader-again", before == host)
            self._see("quorum-fast-double-election", at - memory.elected_us < DOUBLE_US)
            old = memory.nodes.get(before)
            self._see("quorum-long-without-leader", old is not None and not old.is_alive and at - old.died_us > LONG_US)
            self._see("election-while-a-topic-is-made", at - memory.topic_asked_us < MOMENT_US)
            self._see("election-while-replicas-move", any(each.is_moving for each in memory.partitions.values()))
            self._see("election-while-a-node-stops", any(node.is_stopping for node in memory.nodes.values()))
            self._see("election-after-an-isr-change", at - memory.isr_changed_us < SOON_US)
            fetched = (node.fetched_snapshot_us for node in memory.nodes.values())
            self._see("snapshot-and-election", any(at - when < MOMENT_US for when in fetched))
        memory.elected_us = at

    def _call(self, at: int, words: tuple[str, ...]) -> None:
        target, method = words[1], words[2].removeprefix(_CALLS)
        memory, node = self._memory, self._node(words[0])
        match method:
            case "Quorum/FetchSnapshot" if node is not None:
                self._see("snapshot-fetched", at - node.fetched_snapshot_us > SOON_US)
                self._see("snapshot-for-a-new-disk", node.is_on_new_disk)
                node.fetched_snapshot_us, node.fetched_snapshot_from = at, target
            case "Admin/AddRaftVoter" | "Admin/RemoveRaftVoter":
                self._see("voter-added" if "Add" in method else "voter-removed")
                self._see("voters-change-while-one-is-dead", bool(memory.dead()))
                memory.voters_changed_us = at
            case "Admin/TransferQuorumLeadership":
                self._see("quorum-leadership-transferred")
            case "Admin/CreateTopics":
                memory.topic_asked_us = at

    def _broker(self, at: int, words: tuple[str, ...]) -> None:
        host, what = f"n{words[0]}", words[1]
        node = self._memory.nodes.setdefault(host, Node())
        if what == "registered":
            self._see("broker-back-unfenced", not node.is_fenced)
            self._see("broker-on-a-new-disk", "new-disk" in words)
            node.is_registered, node.is_on_new_disk, node.is_fenced = True, False, True
        elif what == "fenced":
            self._see("broker-fenced")
            self._see("broker-fenced-paused", node.is_paused)
            self._see("broker-fenced-alive", node.is_alive and not node.is_paused and not node.is_stopping)
            node.is_fenced = True
        elif what == "unfenced":
            node.is_fenced = False

    # --- partitions --------------------------------------------------------------------------------------------------

    def _partition(self, at: int, words: tuple[str, ...]) -> None:
        name, *pairs = words
        changes = {field: change.split("->")[1] for field, _, change in (pair.partition("=") for pair in pairs)}
        new = name not in self._memory.partitions
        partition = self._memory.partitions.setdefault(name, Partition())
        if "adding" in changes or "replicas" in changes:
            self._move(partition, changes, new)
        before = (partition.isr, partition.elr)
        if "isr" in changes:
            self._in_sync(at, partition, _ids(changes["isr"]), new)
        if "elr" in changes:
            gained = [each for each in _ids(changes["elr"]) if each not in partition.elr]
            partition.elr = _ids(changes["elr"])
            self._see("eligible-outside-the-isr", bool(gained))
        if "leader" in changes:
            self._lead(at, name, partition, changes["leader"], new, before)
        elif "epoch" in changes:
            self._see("partition-leads-on-in-a-new-life", not new)
        self._see("unclean-election", changes.get("recovering") == "yes")

    def _move(self, partition: Partition, changes: dict[str, str], new: bool) -> None:
        replicas = _ids(changes["replicas"]) if "replicas" in changes else partition.replicas
        adding = _ids(changes["adding"]) if "adding" in changes else partition.adding
        if adding and not partition.adding:
            self._see("move-began", not new)
            partition.original = partition.replicas
        elif partition.adding and not adding:
            came = [each for each in partition.adding if each in replicas]
            self._see("move-complete" if came else "move-cancelled")
            partition.original = ()
        partition.replicas, partition.adding = replicas, adding

    def _in_sync(self, at: int, partition: Partition, isr: tuple[str, ...], new: bool) -> None:
        before, partition.isr = partition.isr, isr
        if new:
            return
        self._memory.isr_changed_us = at
        if len(isr) < len(before):
            self._see("isr-shrinks")
            self._see("isr-of-one", len(isr) == 1)
            partition.shrank_us = at
        elif len(isr) > len(before):
            self._see("isr-grows")
            self._see("isr-flaps", at - partition.shrank_us < DOUBLE_US)
            partition.grew_us = at

    def _lead(
        self,
        at: int,
        name: str,
        partition: Partition,
        leader: str,
        new: bool,
        before: tuple[tuple[str, ...], tuple[str, ...]],
    ) -> None:
        old, partition.leader = partition.leader, leader
        if new:
            partition.led_before[leader] = None
            return
        if leader == "none":
            self._see("partition-without-leader")
            return
        self._see("partition-leader-moved")
        self._see("partition-led-again", old == "none")
        self._see("partition-fast-double-failover", at - partition.moved_us < DOUBLE_US)
        self._see("leader-changed-during-truncation", at - partition.cut_us < SOON_US)
        self._see("leader-changed-in-mid-move", partition.is_moving)
        self._see("preferred-leader-back", partition.replicas[:1] == (leader,) and old in partition.isr)
        isr, elr = before
        self._see("eligible-elected", leader in elr and leader not in isr)
        self._see("transactions-coordinator-moved", name.startswith("__transaction_state-"))
        self._see("groups-coordinator-moved", name.startswith("__consumer_offsets-"))
        partition.moved_us = at
        partition.led_before[leader] = None

    def _topic_created(self, at: int, words: tuple[str, ...]) -> None:
        self._see("topic-made-anew", words[0] in self._memory.gone_topics)

    def _topic_deleted(self, at: int, words: tuple[str, ...]) -> None:
        memory = self._memory
        names = [name for name in memory.partitions if name.rpartition("-")[0] == words[0]]
        replicas = {each: None for name in names for each in memory.partitions[name].replicas}
        self._see("topic-deleted-while-a-replica-was-dead", any(host[1:] in replicas for host in memory.dead()))
        for name in names:
            del memory.partitions[name]
        memory.gone_topics[words[0]] = None

    # --- disks -------------------------------------------------------------------------------------------------------

    def _cut(self, at: int, words: tuple[str, ...]) -> None:
        host, path, length = words
        node, name = self._node(host), path.split("/")[-2]
        if node is None:
            return
        node.cut_us = at
        if not node.is_registered:
            self._see("log-cut-while-starting")
        if name == QUORUM_LOG:
            self._see("quorum-log-cut", node.is_registered)
            return
        partition = self._memory.partitions.get(name)
        if partition is None or not node.is_registered:
            return
        self._see("replica-truncated")
        self._see("replica-truncated-whole", length == "0")
        former = host[1:] in partition.led_before and partition.leader != host[1:]
        self._see("former-leader-truncated", former)
        self._see("truncated-twice", at - partition.cut_by.get(host, NEVER_US) < LONG_US)
        partition.cut_us = partition.cut_by[host] = at

    def _disk_fault(self, at: int, words: tuple[str, ...]) -> None:
        fault, path = words[1], words[2]
        if fault == "SYNC_FAILURE":
            self._see("fsync-failed")
            self._see("fsync-of-the-quorum-failed", f"/{QUORUM_LOG}/" in path)
        self._see("disk-full", fault == "FULL")
        self._see("read-failed", fault == "READ_ERROR")

    def _lost(self, at: int, words: tuple[str, ...]) -> None:
        if words[1] in _LOST_DURING:
            self._see(_LOST_DURING[words[1]])

    def _disk_wiped(self, host: str) -> None:
        node = self._node(host)
        if node is not None:
            node.is_on_new_disk = True
            self._see("disk-lost")
            self._see("disk-lost-while-leading", bool(self._memory.led_by(host)))


_LOST_DURING = {"assign": "thrown-out-in-on-assign", "revoke": "thrown-out-in-on-revoke"}
_DISK_CRASHES = {
    "lost": "unsynced-writes-lost",
    "kept": "unsynced-writes-kept",
    "prefix": "unsynced-writes-torn",
    "scattered": "unsynced-writes-scattered",
}


def _ids(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))
