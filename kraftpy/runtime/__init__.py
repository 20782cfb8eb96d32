"""The floor of the house: ports to the world and their real adapters."""
