"""Hours under a steady load, with retention and compaction at work: is everything as flat in the end as at first?

    python -m bench.soak [--hours H] [--share S] [--busy] [--results FILE] [--write]

Three real nodes at their defaults, flushing included. First the most that they take of 1 KB records (librdkafka, six
partitions, replication factor 3, acks=all); then a share of it (a half) for all the time, in a topic that keeps little,
beside a compacted topic that is written with keys that come again, and a reader that reads along. Every ten seconds
somebody looks: RssAnon of each node with its maintenance process, its open files, what its logs take on the disk, how
long a record took from its due moment to the reader, and who leads the quorum and the partitions in which epochs.

`--busy` keeps all cores busy with processes that only count: nobody may be elected anew for that.

`clients` are the programs, `watch` looks, `judging` says what is flat, `telling` shows it.
"""
