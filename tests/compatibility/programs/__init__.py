"""Programs that use other people's clients, as their users would; each speaks `line_protocol`."""
