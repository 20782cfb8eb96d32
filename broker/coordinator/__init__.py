"""Coordinators: who keeps the groups and the transactions of this broker's share of them.

Each partition of an internal topic is the log of one coordinator, and whoever leads the partition runs it:

| topic | its coordinators | a key is |
|---|---|---|
| `__consumer_offsets` | groups and their offsets: `groups` | a group id |
| `__transaction_state` | transactions: `transactions` | a transactional id |

    door ─→ Coordinators.submit(key, command) ─→ Shard ─→ Core.handle ─→ records ─→ partition's log ─→ Core.replay
                                                              └→ answers, parked until the records are committed

`core` says what a core is; `groups` and `transactions` hold the two. They are pure, and know nothing of logs. `shard`
gives one of them its log, its clock and its mailbox; `coordinators` has the shards of one topic and follows metadata.
`finding` tells clients which broker that is, and has `broker/topic_creation.py` make a topic that is first needed. The
codecs of their records are Kafka's formats.
"""
