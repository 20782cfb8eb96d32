"""Heavy work over closed files, away from the event loop: compaction, the scrub, digests; in processes of their own.

On the loop it is decided what comes next and what becomes of the result: `compactor` for logs that are compacted,
`scrubber` for segments that are read again, and whoever compares replicas asks for digests (`jobs`). `heavy_work` puts
that together and gives each of the three its own `pool` of child processes: as many as it has jobs at a time, which
is up to log.cleaner.threads for compaction and one for the others. They are started when there is something to do, run
at the lowest priority and at the `pace` of the settings, and end with their parent. `process` is the node's end of the
pipes to one, `worker` the other. In the simulation `inline` does the same work without a process.
"""
