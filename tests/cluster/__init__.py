"""Clusters of real processes, hurt in every way that a machine can hurt them.

`ledger` is the bookkeeping of what was sent, acknowledged and read, `load` a producer and a consumer that run
meanwhile, `chaos` the rounds of faults; `campaign` plays many of them: `python -m tests.cluster.campaign --rounds 50`.
`raw` speaks to one node without the SDK, `process_memory` looks at it from outside, `replica_files` at what it left.
"""
