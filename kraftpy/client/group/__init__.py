"""A consumer's membership of a group, and its committed offsets.

    classic_member     the core of a member that joins, syncs and beats; its leader assigns (KIP-62, 429, 394, 345)
    consumer_member    the core of a member that is told by the coordinator what to read (KIP-848)
    membership         the shell that runs either of them: background requests, time, and what poll() is to do
    coordinator        where the coordinator is, and calls to it
    commit_queue       which offsets are committed next, so that an older commit never overwrites a newer one
    committing         the shell that commits and looks up offsets

Both cores are sans-IO: they are told what happened and when, and say what to ask the coordinator and what to hand over.
Partitions change hands inside poll() only, so between two polls a program has what it had (`handover`).
"""
