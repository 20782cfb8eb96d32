"""The Kafka wire listener: framing, routing, one handler file an API.

A frame comes from the framed transport to `router`, which takes off the header, finds the API by its number (`api`)
and calls its handler, which has a file of the API's name: `list_offsets`, `join_group`, `create_topics`. `versions`
says what ApiVersions tells of each, `handlers` loads the one that is asked for, and `door` gives it what it needs of
the broker; what several of them need is in `ports`.

What a message looks like is in `messages`, a file an API, in the words of `schema`: a dataclass is read and written by
what it says of its fields. By hand, in the words of `wire`, are only those that are hot or that open a connection:
`produce_messages`, `fetch_request` and `fetch_response`, `list_offsets`, `api_versions`. `fetch_codec` is the other end
of a fetch, for the brokers that follow. No domain decision is made here.
"""
