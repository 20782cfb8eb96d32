"""Real nodes as processes, on networks and disks that really fail.

    make chaos                                        # forty rounds of everything that this machine allows
    make chaos ROUNDS=60 SEED=7 FAULTS=power,power_all

Read `faults` first: what can be done to a node, each with the proof that it happened. `enclosure` is the room in which
all of it takes place, and the reason why nothing is left behind; `network` (with its `switch`) and `disks` are what can
be cut, filled and switched off; `cluster` puts nodes on them; `clients` write, read, and note down what they saw;
`rounds` plays, and judges by the log checker of the simulation; `campaign` plays many and counts.

`tests/cluster/chaos.py` needs none of this and kills and pauses nodes on loopback.
"""
