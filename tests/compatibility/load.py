"""Numbered records at a steady rate, by confluent-kafka, to the partitions in turn: what was answered, and how late."""

import threading
import time
from collections.abc import Mapping
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from tests.compatibility.handling import UNKNOWN_OFFSET, Place

ANSWER_S = 90.0
POLL_S = 0.005


class Load:
    """The producer, on a thread of its own; `rate` is in records a second, `settings` are more of librdkafka's."""

    def __init__(
        self, bootstrap: str, topic: str, partitions: int, rate: int, settings: Mapping[str, str | int] | None = None
    ) -> None:
        self.acknowledged: dict[str, Place] = {}
        self.waits_ms: list[float] = []
        self.errors: list[str] = []
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "error_cb": self._told, **(settings or {})}
        )
        self._topic = topic
        self._partitions = partitions
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Every record is answered then, or an error."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
            if left := self._producer.flush(ANSWER_S):
                self.errors.append(f"{left} records are not answered within {ANSWER_S:g} s")

    def _told(self, error: KafkaError) -> None:
        if error.fatal():  # others are informational, says librdkafka's documentation
            self.errors.append(error.str())

    def _run(self) -> None:
        begun = time.monotonic()
        number = 0
        while not self._stop.is_set():
            while number < (time.monotonic() - begun) * self._rate:
                partition = number % self._partitions
                self._producer.produce(
                    self._topic, str(number).encode(), partition=partition, on_delivery=self._delivered
                )
                number += 1
            self._producer.poll(POLL_S)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.errors.append(error.str())
            return
        self.waits_ms.append((message.latency() or 0.0) * 1000)
        offset = message.offset()  # librdkafka does not know it where only a later record's answer told of this one
        place = (message.partition() or 0, UNKNOWN_OFFSET if offset is None or offset < 0 else offset)
        self.acknowledged[(message.value() or b"").decode()] = place
