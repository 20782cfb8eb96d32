"""Every situation is recognised in a short trace that tells it, and not in the one before its last line."""

import pytest

from simulation.situations.recognizer import Recognizer
from simulation.situations.table import SITUATIONS
from simulation.story import parse_line

BEGINNING = (
    "start n1 1;start n2 1;start n3 1;quorum-leader n1.1 1;"
    "broker 1 registered epoch=3;broker 1 unfenced;broker 2 registered epoch=4;broker 2 unfenced;"
    "broker 3 registered epoch=5;broker 3 unfenced;topic-created t 1;"
    "partition t-0 leader=->2 epoch=->0 isr=->2,1,3 replicas=->2,1,3;"
    "partition __transaction_state-0 leader=->3 epoch=->0 isr=->3,1 replicas=->3,1;"
    "partition __consumer_offsets-0 leader=->3 epoch=->0 isr=->3,1 replicas=->3,1"
)
"""Three nodes, the first of which leads the quorum; t-0 is led by the second. A line a tenth of a second."""
CALL = "call n2 n1 /kraftpy.pb."
FETCH = f"{CALL}Quorum/FetchSnapshot 50"
MOVE = "partition t-0 replicas=2,1,3->2,1,3,4 adding=->4"
CUT = "cut n2 /data/kraftpy/t-0/0.log 400"

TOLD = {
    "quorum-election": "quorum-leader n2.1 2",
    "quorum-leader-killed": "kill n1",
    "quorum-leader-lost-power": "power-failure n1",
    "quorum-leader-stopped": "stop n1",
    "quorum-leader-paused": "pause n1",
    "quorum-leader-cut-off": "block n1 n2 drop;block n3 n1 drop",
    "quorum-leader-back-too-late": "pause n1;quorum-leader n2.1 2;resume n1",
    "quorum-leader-again": "kill n1;start n1 2;quorum-leader n1.2 2",
    "quorum-fast-double-election": "quorum-leader n2.1 2;quorum-leader n3.1 3",
    "quorum-long-without-leader": f"kill n1;{';'.join(['pause n3'] * 31)};quorum-leader n2.1 2",
    "quorum-leadership-transferred": f"{CALL}Admin/TransferQuorumLeadership 5",
    "quorum-majority-dead": "kill n2;kill n3",
    "everybody-dead": "kill n1;kill n2;power-failure n3",
    "quorum-log-cut": "cut n3 /data/kraftpy/__cluster_metadata-0/0.log 10",
    "election-while-a-topic-is-made": "call a1 n2 /kraftpy.pb.Admin/CreateTopics 9;quorum-leader n2.1 2",
    "election-while-replicas-move": f"{MOVE};quorum-leader n2.1 2",
    "election-while-a-node-stops": "stop n3;quorum-leader n2.1 2",
    "election-after-an-isr-change": "partition t-0 isr=2,1,3->2,1;quorum-leader n2.1 2",
    "snapshot-fetched": FETCH,
    "snapshot-for-a-new-disk": f"kill n2;disk-wiped n2;start n2 2;{FETCH}",
    "snapshot-receiver-died": f"{FETCH};kill n2",
    "snapshot-sender-died": f"{FETCH};kill n1",
    "snapshot-cut-off": f"{FETCH};block n1 n2 drop",
    "snapshot-and-election": f"{FETCH};quorum-leader n3.1 2",
    "voter-added": f"{CALL}Admin/AddRaftVoter 5",
    "voter-removed": f"{CALL}Admin/RemoveRaftVoter 5",
    "voters-change-while-one-is-dead": f"kill n3;{CALL}Admin/RemoveRaftVoter 5",
    "leader-died-after-voters-changed": f"{CALL}Admin/AddRaftVoter 5;kill n1",
    "broker-fenced": "broker 2 fenced",
    "broker-fenced-alive": "broker 2 fenced",
    "broker-fenced-paused": "pause n2;broker 2 fenced",
    "broker-back-unfenced": "kill n2;start n2 2;broker 2 registered epoch=9",
    "broker-on-a-new-disk": "broker 2 registered epoch=9 new-disk",
    "died-while-starting": "kill n2;start n2 2;kill n2",
    "controlled-shutdown": "stop n2;exit n2 done",
    "died-while-stopping": "stop n2;kill n2",
    "last-of-a-minority-back": "kill n2;kill n3;start n2 2;start n3 2",
    "partition-leader-moved": "partition t-0 leader=2->1 epoch=0->1",
    "partition-leader-killed": "kill n2",
    "partition-leader-lost-power": "power-failure n2",
    "partition-leader-stopped": "stop n2",
    "partition-leader-paused": "pause n2",
    "partition-leader-back-too-late": "pause n2;partition t-0 leader=2->1 epoch=0->1;resume n2",
    "partition-leader-without-controller": "block n2 n1 drop",
    "partition-fast-double-failover": "partition t-0 leader=2->1 epoch=0->1;partition t-0 leader=1->3 epoch=1->2",
    "partition-leads-on-in-a-new-life": "partition t-0 epoch=0->1",
    "partition-without-leader": "partition t-0 leader=2->none epoch=0->1",
    "partition-led-again": "partition t-0 leader=2->none epoch=0->1;partition t-0 leader=none->2 epoch=1->2",
    "preferred-leader-back": "partition t-0 leader=2->1 epoch=0->1;partition t-0 leader=1->2 epoch=1->2",
    "leader-changed-during-truncation": f"{CUT};partition t-0 leader=2->1 epoch=0->1",
    "transactions-coordinator-moved": "partition __transaction_state-0 leader=3->1 epoch=0->1",
    "groups-coordinator-moved": "partition __consumer_offsets-0 leader=3->1 epoch=0->1",
    "isr-shrinks": "partition t-0 isr=2,1,3->2,1",
    "isr-grows": "partition t-0 isr=2,1,3->2,1;partition t-0 isr=2,1->2,1,3",
    "isr-of-one": "partition t-0 isr=2,1,3->2",
    "isr-flaps": "partition t-0 isr=2,1,3->2,1;partition t-0 isr=2,1->2,1,3",
    "leader-died-after-shrink": "partition t-0 isr=2,1,3->2,1;kill n2",
    "leader-died-after-growth": "partition t-0 isr=2,1,3->2,1;partition t-0 isr=2,1->2,1,3;kill n2",
    "last-in-sync-died": "partition t-0 isr=2,1,3->2;kill n2",
    "eligible-outside-the-isr": "partition t-0 isr=2,1,3->2 elr=->1",
    "eligible-elected": "partition t-0 isr=2,1,3->2 elr=->1;partition t-0 leader=2->1 epoch=0->1 isr=2->1 elr=1->",
    "unclean-election": "partition t-0 leader=2->3 epoch=0->1 recovering=->yes",
    "replica-truncated": CUT,
    "replica-truncated-whole": "cut n2 /data/kraftpy/t-0/0.log 0",
    "former-leader-truncated": f"partition t-0 leader=2->1 epoch=0->1;{CUT}",
    "truncated-twice": f"{CUT};{CUT}",
    "log-cut-while-starting": f"kill n2;start n2 2;{CUT}",
    "died-after-truncation": f"{CUT};kill n2",
    "unsynced-writes-lost": "disk-crash n2 lost",
    "unsynced-writes-kept": "disk-crash n2 kept",
    "unsynced-writes-torn": "disk-crash n2 prefix",
    "unsynced-writes-scattered": "disk-crash n2 scattered",
    "fsync-failed": "disk-fault n2 SYNC_FAILURE /data/kraftpy/t-0/0.log",
    "fsync-of-the-quorum-failed": "disk-fault n2 SYNC_FAILURE /data/kraftpy/__cluster_metadata-0/0.log",
    "disk-full": "disk-fault n2 FULL /data/kraftpy/t-0/0.log",
    "read-failed": "disk-fault n2 READ_ERROR /data/kraftpy/t-0/0.log",
    "node-ended-by-its-disk": "stopped-by-its-disk n2 [Errno 5]",
    "disk-lost": "disk-wiped n1",
    "disk-lost-while-leading": "disk-wiped n2",
    "move-began": MOVE,
    "move-complete": f"{MOVE};partition t-0 replicas=2,1,3,4->4,2,1 adding=4->",
    "move-cancelled": f"{MOVE};partition t-0 replicas=2,1,3,4->2,1,3 adding=4->",
    "died-in-mid-move": f"{MOVE};kill n3",
    "new-replica-died-in-mid-move": f"start n4 1;{MOVE};kill n4",
    "leader-changed-in-mid-move": f"{MOVE};partition t-0 leader=2->1 epoch=0->1",
    "topic-made-anew": "topic-deleted t;topic-created t 2",
    "topic-deleted-while-a-replica-was-dead": "kill n3;topic-deleted t",
    "one-way-cut": "block n1 n2 drop",
    "both-ways-cut": "block n1 n2 drop;block n2 n1 drop",
    "clogged": "block n1 n2 hold",
    "clock-back": "clock-jump n2 -5000",
    "clock-of-the-quorum-leader": "clock-jump n1 5000",
    "clock-drifts": "clock-drift n2 500",
    "send-given-up": "undelivered p1 p1/7 DeliveryTimeoutError",
    "topic-change-unanswered": "admin-failed a1 create t CallTimeoutError",
    "poll-failed": "poll-failed c1 CallTimeoutError",
    "callback-outlasts-heartbeat": "callback g1-1-1 assign 701",
    "thrown-out-in-on-assign": "lost g1-1-1 assign",
    "thrown-out-in-on-revoke": "lost g1-1-1 revoke",
}


def recognised(told: str) -> dict[str, int]:
    recognizer = Recognizer()
    for number, text in enumerate(told.split(";")):
        line = parse_line(f"{number / 10:.6f} world {text}")
        recognizer.note(round(line.at_s * 1e6), line.kind, line.words)
    return recognizer.counts


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_is_recognised_by_its_last_line(name: str) -> None:
    told = f"{BEGINNING};{';'.join(['resume n9'] * 40)};{TOLD[name]}"
    before, _, _ = told.rpartition(";")
    assert recognised(told).get(name, 0) == recognised(before).get(name, 0) + 1


def test_nothing_has_happened_in_the_beginning() -> None:
    assert recognised(BEGINNING) == {}


def test_there_are_many_and_each_says_what_it_means() -> None:
    assert len(SITUATIONS) >= 60 and list(TOLD) == list(SITUATIONS)
    assert len({*SITUATIONS.values()}) == len(SITUATIONS)


def test_clients_are_no_nodes() -> None:
    told = f"{BEGINNING};start p1 1;kill p1;stop p1;pause p1;block p1 n1 drop;clock-jump p1 5"
    assert recognised(told) == {}


def test_callbacks_that_are_over_in_time_are_nothing_special() -> None:
    assert recognised(f"{BEGINNING};callback g1-1-1 revoke 700;lost g1-1-1 nothing") == {}


def test_what_is_over_is_over() -> None:
    """A move that ended, a way that is free again, and a death long ago make nothing special of what follows."""
    told = f"{BEGINNING};{MOVE};partition t-0 replicas=2,1,3,4->2,1,3 adding=4->;block n1 n2 drop;unblock n1 n2"
    told += f";{FETCH};{';'.join(['resume n9'] * 40)};kill n1;block n2 n1 drop"
    found = recognised(told)
    assert "died-in-mid-move" not in found and "snapshot-sender-died" not in found and "both-ways-cut" not in found
