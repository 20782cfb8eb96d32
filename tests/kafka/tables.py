"""What the door serves, without a broker behind it: the table that tests and documents are made from."""

from types import SimpleNamespace
from typing import Any, cast

from broker.config import NodeConfig
from broker.kafka.api import Api
from broker.kafka.door import KafkaDoor
from broker.kafka.endpoints import no_endpoint

_needed = ("next", "image", "wall_ms", "find", "wait_leaders_known")
_nothing: Any = cast(Any, SimpleNamespace(cluster_id="", **dict.fromkeys(_needed)))

APIS: list[Api] = KafkaDoor(
    view=_nothing,
    config=NodeConfig(),
    replicas=_nothing,
    creation=_nothing,
    producer_ids=_nothing,
    link=_nothing,
    transport=_nothing,
    clock=_nothing,
    finder=_nothing,
    groups=_nothing,
    transactions=_nothing,
).apis(no_endpoint)
"""Every row but ApiVersions' own."""

SCHEMA_APIS: list[Api] = [api for api in APIS if api.request is not None]
"""Those whose messages are dataclasses."""
