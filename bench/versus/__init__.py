"""Apache Kafka and kraftpy by turns on the same machine and disk, with the same client programs.

    make bench-kafka                                 # a Java runtime and Maven on this machine
    python -m bench.versus --quick --only produce    # does everything work?

`measures` is the table as data: what is run, on how many nodes, what each row compares, and its target. One file for
each kind of thing that is run: `producing`, `consuming`, `waiting`, `resting`, `partitions`, `connections`, `starts`;
`programs` holds what runs as a process of its own, for both clusters alike, and `perf_tools` reads Kafka's own.
`contenders` says who is compared: both systems with their defaults, and each with the other's promise about durability.
`rounds` alternates and takes medians of ratios, `session` runs it and `kept` keeps what was found, `report` and `plots`
show it; `grid` is the heat maps, `grid_report` their figures.

Never two clusters at once: whatever is measured has the machine to itself, together with its client.
"""
