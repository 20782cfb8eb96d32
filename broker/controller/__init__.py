"""The controller: decides what changes in the metadata. Pure, except for `shell`.

Begin with `commands`, what can be asked; then `core`, which hands each to its noun: `brokers` with `sessions`, `topics`
with `placement`, `isr_changes`, `leaders` with `elections` and `eligible`, `reassignments` with `reassignment`,
`settings`, `producer_ids`. `cluster` is the state that
they share, `partition_index` its index by broker. `shell` commits what the core decides and answers after that.
"""
