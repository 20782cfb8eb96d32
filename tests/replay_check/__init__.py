"""The check that refuses what breaks replay, proven on planted failures."""
