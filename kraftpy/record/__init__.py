"""Record batches, format version 2: the one format on disk, on the wire and in replication."""
