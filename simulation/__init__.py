"""The whole cluster on virtual time, with virtual disks and network, and the judges of its histories."""
