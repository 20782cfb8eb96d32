"""Groups of consumers, and what they have read: the coordinator on `__consumer_offsets`. Pure but for the codecs.

    commands ─→ core ─→ who handles it                                          ─→ records ─→ replay
                        joining, syncing, membership    classic groups             stored
                        consumer_heartbeats, migration  consumer groups            consumer groups
                        committing, fetching            offsets                    offsets
                        describing, deleting, expiry    administration

| file | noun |
|---|---|
| `commands` | what the doors ask, and the answers: no shape of any wire |
| `records`, `consumer_records`, `codec`, `consumer_codec` | what is kept, and its bytes in Kafka's own formats |
| `turn`, `timers` | one handling of a command: what it decided; what time will bring |
| `classic_group`, `rebalance` | a group whose members agree among themselves (JoinGroup, SyncGroup), and its rounds |
| `consumer_group`, `reconciliation`, `assignors` | a group whose coordinator assigns (KIP-848) |
| `topics`, `pattern` | what there is to be read, and names of it by pattern |
| `migration`, `classic_members` | groups that change their type, and members of the old protocol in the new groups |
| `offsets` | committed offsets, and those of transactions that have not ended |

A classic group in memory (`classic_group`) is soft: it is made from the stored records when a log was loaded, and then
follows the commands; a consumer group is what was replayed. What survives a failover is what `replay` has seen, and
nothing is told to a member before that.
"""
