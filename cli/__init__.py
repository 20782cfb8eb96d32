"""The `kraftpy` command."""
