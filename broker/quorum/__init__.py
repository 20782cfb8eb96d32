"""What the quorum needs of this node: its log on disk, its vote, its founding, its state machine.

`raft` knows no storage and no metadata; this package lends it both. `entries` turns raft entries into record batches,
`log` keeps them in a `log_store.log.Log` with `snapshots` beside it, `committed` remembers how far they are committed,
`votes` keeps the vote, and `founding` runs the first start. `loader` applies what is committed to the metadata image;
`metadata_log` is the way in, for the controller. Voters come and go by `voter_changes`, by the rules of `membership`.
"""
