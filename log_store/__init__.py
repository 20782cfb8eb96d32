"""The log of one partition on disk: segments, indexes, recovery, retention."""
