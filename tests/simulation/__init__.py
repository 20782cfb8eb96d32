"""The simulation's own tests: its loop, disks, network and checkers are tools that the rest trusts."""
