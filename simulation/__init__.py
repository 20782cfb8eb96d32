"""The whole cluster on virtual time, with virtual disks and network, and the judges of its histories.

Read it in this order. `loop` is an asyncio loop without a clock or a socket: time jumps from timer to timer, and the
seed decides what a real machine would leave open. `device` and `disk` are the disk port over a medium that forgets
what was not synced; `network`, `connection`, `transport` and `framed_transport` are the transport ports over links that
lose, delay and break; `clock` is a node's clock. `world` puts them together: hosts, lives of nodes, crashes and
partitions.

On top of that, `faults` draws plans of what goes wrong, `scenario` runs a named simulation by its seed, and `run` is
its command line. `checkers` judges what clients saw.

Everything here is deterministic: the same seed gives the same trace hash, under any PYTHONHASHSEED.
"""
