"""Consensus without input or output: a replicated log with one leader at a time.

Read it in this order:

- `raft.events`: the whole conversation with the core, events in, effects out.
- `raft.core`: `step`, the epochs and votes, and the table of who may become what. The roles have files of their own:
  `waiting` (Unattached, Resigned), `election` (Prospective, Candidate), `leader`, `follower` and `observer` (which
  share `fetching`). `log_shape` is what the core knows of its log, `config` every time-out with its reason.
- `raft.ports` and `raft.node`: the world and the shell. `applier` feeds the state machine, `stored` recovers,
  `addresses` knows where the others listen.
- `raft.founding`: how a cluster begins, before there is anything to agree on.

What a leader election looks like, line by line, stands in tests/raft/transcripts/election.txt; what may go wrong, in
the other files there.
"""
