"""One whole cluster for as long as one likes: what `kraftpy simulate` runs, and campaigns run many of.

Read it in this order. `options` says what a run is made of, and is its name; `workload` what clients are to offer,
with `log_workload`, `metadata_workload`, `transactions_workload` and `groups_workload`; `operator` carries out what
nodes, disks and links alone cannot (members, disks, moves); `run` puts them together and has everything judged.
"""
