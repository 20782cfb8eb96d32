"""The Kafka wire listener: framing, routing, one handler file an API.

A frame comes from the framed transport to `router`, which takes off the header, finds the API in its table (`api`) and
calls the handler: `api_versions`, `list_offsets`, `fetch`. What the bytes of a message look like is next to each
handler (`fetch_request`, `fetch_response`) in the words of `wire`; what the broker must offer is in `ports`.
`fetch_codec` is the other end of a fetch, for the brokers that follow. No domain decision is made here.
"""
