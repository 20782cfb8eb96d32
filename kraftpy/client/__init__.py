"""The client: how programs publish, read and administer, over gRPC.

Two facades over one asyncio core. `kraftpy.aio` shows the core as it is (`async_producer`, `async_consumer`,
`async_admin`); `kraftpy` runs it on a thread of its own (`loop_thread`, `blocking_producer`, …).

    producer   pipeline → accumulator → sender → produce_link      (`producing` puts them together)
    consumer   fetcher → fetch_position → async_consumer
    both       metadata (who leads what: `cluster_view`), config, wire (typed calls over the transport port)

gRPC does not survive a fork once it is in use. So use clients after forking only, or start processes by
multiprocessing's spawn or forkserver; a client in a process that was forked off one that has used clients says so, with
`ClosedError`.

Start with `partition_queue`: it says in what order batches go out and why nothing is written twice.
The core takes time, chance and the network from ports, so the same client runs in the simulation; only the blocking
facades know threads.
"""
