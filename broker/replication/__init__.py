"""Partition replicas: leaders, followers, in-sync sets, high watermarks and those who wait for them."""
