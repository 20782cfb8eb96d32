"""What a group's member is, seen from the client."""
