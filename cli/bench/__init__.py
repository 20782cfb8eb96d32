"""`kraftpy bench`: measures a cluster of Kafka's kind from outside, through either door.

`command` holds the commands, `options` and `names` what they take. `choosing` finds out which `door` an address has:
`grpc_door` (the SDK) or `kafka_door` (librdkafka, for any cluster). `producing`, `consuming`, `end_to_end` and
`failing_over` are the four measurements; `topics`, `sending` and `receiving` what they share; `live`, `stop` and
`report` what the user sees of it.

Pure are `schedule` (when each record is due), `histogram`, `waits` and `report`: what a figure means is decided there,
and tested without a cluster.
"""
