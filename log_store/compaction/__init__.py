"""Compaction: of each key only the newest record stays (`cleanup.policy=compact`).

    plan       which closed segments, and whether it is worth it now        pure; on the loop
    cleaner    reads those segments and writes what replaces them           files only; in any process
    swap       puts that in their place                                     on the loop, between flushes

What stays, and for how long (KIP-58, KIP-98, KIP-354, KIP-534):

| a record                             | goes                                                                       |
|--------------------------------------|----------------------------------------------------------------------------|
| with a newer one of its key          | once both lie in the cleaned part                                          |
| a tombstone, the newest of its key   | `delete.retention.ms` after compaction first met it                        |
| of an aborted transaction            | at once; it never hides another                                            |
| a transaction's marker               | as a tombstone, counted from when nothing of its transaction was left      |
|                                      | (KAFKA-13727: nothing beyond what is cleaned is judged)                    |
| the last batch of a known producer   | its records go, the batch stays, empty: it holds the sequence              |

Offsets, epochs and timestamps never change. The last batch of a cleaned segment always reaches to the end of what the
segment stands for, as an empty one if need be, so that a log without its checkpoints can still tell a gap which
compaction left from one that damage left.
"""
