"""The log of one partition on disk: segments, indexes, recovery, retention.

Start at `log` (one partition: what happens to it), `readable_log` (what it tells) and `log_directory` (all of them on
one disk, and what they share). As a record goes: `validation` judges it, `placing` gives it its offset, `segment`
writes it, with `offset_index` and `time_index`; `producer_batches` and `producer_state` remember whose it was,
`leader_epochs` in which epoch. `durability` knows how much of it is safe, `flush` and `flusher` make it so in groups,
`snapshots` hold the proof. `reading` finds it again, `retention` and `compacting` say when it may go, `inspection` lets
somebody look for damage, `recovery` brings everything into order after a stop of any kind.

Files and their formats are Kafka's (`file_names`, `checkpoints`, `producer_snapshot`).
"""
