"""Replication: pure parts by tables and twins, then brokers against each other."""
