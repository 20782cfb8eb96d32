"""The schemas of Kafka's messages, a file an API: request, response, and the versions that are served.

Pure: what a handler, a coordinator's codec or a test reads and writes with `broker.kafka.schema`.
"""
