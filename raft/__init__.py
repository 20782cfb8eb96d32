"""Consensus without input or output: a replicated log with one leader at a time.

Begin with `raft.events`, the conversation; then `raft.core`, which holds it; then `raft.node`, which acts on it.
"""
