"""The consumer of a tutorial: BOOTSTRAP TOPIC COUNT GROUP; five fields of every record."""

import json
import sys

from kafka import KafkaConsumer

consumer = KafkaConsumer(
    sys.argv[2],
    bootstrap_servers=sys.argv[1].split(","),
    group_id=sys.argv[4],
    client_id="consumer.client.id.demo",
    auto_offset_reset="earliest",
    value_deserializer=lambda value: json.loads(value.decode("utf-8")),
)
left = int(sys.argv[3])
for record in consumer:
    print("record", record.topic, record.partition, record.offset, record.value["message"], record.key.decode())
    left -= 1
    if left == 0:
        break
consumer.close()
