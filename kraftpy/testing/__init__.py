"""Clusters for tests: real processes, started and stopped by a `with`."""
