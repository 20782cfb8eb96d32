"""What the quorum needs of this node: its log on disk, its vote, its founding, its state machine.

`raft` knows no storage and no metadata; this package lends it both. `entries` turns raft entries into record batches,
`log` keeps them in a `log_store.Log` with snapshots beside it, `votes` keeps the vote, `founding` runs the first start,
and `loader` applies what is committed to the metadata image.
"""
