"""The Kafka wire listener: framing, routing, one handler file an API."""
