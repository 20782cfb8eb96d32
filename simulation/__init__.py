"""The whole cluster on virtual time, with virtual disks and network, and the judges of its histories.

Read it in this order. `loop` is an asyncio loop without a clock or a socket: time jumps from timer to timer, and the
seed decides what a real machine would leave open; each life of a node is a `lane` of it. `device` and `disk` are the
disk port over a medium that forgets what was not synced; `network`, `connection`, `transport` and `framed_transport`
are the transport ports over links that lose, delay and break; `clock` is a node's clock. `world` puts them together:
hosts, lives of nodes, crashes and partitions.

On top of that, `fault_kinds` names what can go wrong, `plan` draws it, `faults` and `injection` carry it out,
`scenario` runs a named simulation by its seed, and `run` is its command line. `checkers` judges what clients saw,
`witness` what nodes and disks say, `situations` what a run has been through. `simulate` is one cluster for as long as
one likes, as `kraftpy simulate` and `campaign` run it; `story` tells a trace in words, `shrink` makes a failing run
smaller.

Everything here is deterministic: the same seed gives the same trace hash, under any PYTHONHASHSEED.
"""
