"""The producer of a tutorial: BOOTSTRAP TOPIC COUNT, with the arguments that it teaches."""

import json
import sys

from kafka import KafkaProducer

producer = KafkaProducer(
    bootstrap_servers=sys.argv[1].split(","),
    retries=5,
    client_id="producer.client.id.demo",
    acks=1,
    enable_idempotence=False,
    value_serializer=lambda value: json.dumps(value).encode("utf-8"),
)
for number in range(int(sys.argv[3])):
    future = producer.send(sys.argv[2], value={"message": f"message-{number}"}, key=b"key-%d" % (number % 7))
    sent = future.get(timeout=10)
    print("record", sent.topic, sent.partition, sent.offset, number)
producer.close()
