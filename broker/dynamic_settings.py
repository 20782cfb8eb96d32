"""The node's own settings that can be changed while it runs (KIP-226): follows the metadata, and tells of what changed.

Which those are is `broker.metadata.broker_config.NODE_SETTINGS`. What topics and the controller read, they read in the
metadata themselves.
"""

import logging
from collections.abc import Callable, Mapping

from broker.metadata.broker_config import NODE_SETTINGS
from broker.metadata.delta import MetadataDelta
from broker.metadata.effective import node_values
from broker.metadata.image import MetadataImage
from broker.metadata.records import ResourceType

logger = logging.getLogger(__name__)

Follow = Callable[[str], None]
"""Takes a value over; it is one that the setting allows."""


class DynamicSettings:
    """Invariant: every follower has heard the value that holds by the last image."""

    def __init__(self, node_id: int, static: Mapping[str, str], followers: Mapping[str, Follow]) -> None:
        """`static`: what the node was given at its start, and acts by already. `followers`: one for each setting."""
        names = [setting.name for setting in NODE_SETTINGS]
        assert sorted(followers) == sorted(names), "somebody follows each of them"
        self._node_id = node_id
        self._static = {name: static[name] for name in names if name in static}
        self._followers = followers
        self._values = {setting.name: self._static.get(setting.name, setting.default) for setting in NODE_SETTINGS}

    def apply(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """The next image of the metadata; `delta` is what differs from the one before."""
        if not any(change.resource.type is ResourceType.BROKER for change in delta.configs):
            return
        for name, effective in node_values(image, self._node_id, self._static).items():
            if effective.value != self._values[name]:
                logger.info(
                    "%s is %s now (%s), was %s", name, effective.value, effective.source.value, self._values[name]
                )
                self._values[name] = effective.value
                self._followers[name](effective.value)
