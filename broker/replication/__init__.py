"""Partition replicas: leaders, followers, in-sync sets, high watermarks and those who wait for them.

Read in this order. Pure: `watermark` (what is committed), `follower` (what a leader knows of one), `isr` (who is in
sync, and the words with the controller about it), `leader` (all three together, for one leader epoch), `truncation`
(where two logs part). Then `partition`: a log with a part to play. Requests come in by `producing` and `reading`, wait
in `purgatory`, and readers are remembered by `sessions`. A follower copies by a `fetcher`, and does what its leader
says by `replicating`; `fetchers` keeps one for each leading broker. `hosting` finds and makes the logs, `assignments`
gives each its part as metadata says, `alterations` carries proposals to the controller, `upkeep` does what is due now
and then, and `replicas` holds it all together and is what the rest of the broker speaks to.

The way of one record with acks=all: `Producing.produce` → `Partition.append` → the directory's flusher, and meanwhile
`Partition.read` for a follower's parked fetch → its `Fetcher` appends, flushes, and asks from the new end →
`Partition.note_fetch` → `Leadership.advanced` → the high watermark passes the record → the producer is answered.
"""
