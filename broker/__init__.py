"""One node: metadata, controller, replication and the two doors. `broker.server` puts it together."""
