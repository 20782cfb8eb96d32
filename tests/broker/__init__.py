"""A node's own parts, which belong to no folder of the broker: its life, its settings."""
