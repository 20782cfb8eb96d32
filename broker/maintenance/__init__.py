"""Heavy work over closed files, away from the event loop: compaction in a process of its own.

`Compactor` decides what comes next and puts results in place, on the loop. `MaintenanceProcess` is its hand: one child
process a node, started when there is something to do, at the lowest priority, which ends with its parent. In the
simulation `InlineWorker` does the same work without a process.
"""
