"""The log of one partition on disk: segments, indexes, recovery, retention.

Start at `log` (one partition) and `log_directory` (all of them on one disk, and what they share). Below a log are its
`segment`s with `offset_index` and `time_index`; beside it `leader_epochs` and `producer_state`. `recovery` opens it,
`flusher` makes it durable in groups, `validation` and `retention` are the rules, pure.
"""
