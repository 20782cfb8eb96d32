"""`kraftpy demo`: three nodes, a kill -9 in mid-stream, and a count of what was lost.

`command` tells the story from the first line to the exit code. `access_log` is what is published, `publisher` and
`reader` are the two threads that publish and read while the fault happens, `fault` makes one node lead and then hurts
it, `ledger` knows what was sent and judges what was read (pure: its tests plant losses, repeats and reorderings),
`progress` and `report` print.
"""
