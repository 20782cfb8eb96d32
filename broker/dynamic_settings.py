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
from broker.metadata.setting import DynamicSetting
from kraftpy.errors import InvalidConfigError, KraftpyError

logger = logging.getLogger(__name__)

Follow = Callable[[str], None]
"""Takes a value over. Raises `ValueError` or a `KraftpyError` where it cannot."""


class DynamicSettings:
    """Invariant: every follower has heard the value that holds by the last image, spelt as a change would be, or it has
    refused that, and is asked again at the next change."""

    def __init__(self, node_id: int, static: Mapping[str, str], followers: Mapping[str, Follow]) -> None:
        """`static`: what the node was given at its start, and acts by already. `followers`: one for each setting."""
        names = [setting.name for setting in NODE_SETTINGS]
        assert sorted(followers) == sorted(names), "somebody follows each of them"
        self._node_id = node_id
        given = {setting: static[setting.name].strip() for setting in NODE_SETTINGS if setting.name in static}
        self._static = {setting.name: _as_followed(setting, text) for setting, text in given.items() if text}
        self._followers = followers
        self._values = {setting.name: self._static.get(setting.name, setting.default) for setting in NODE_SETTINGS}

    def apply(self, image: MetadataImage, delta: MetadataDelta) -> None:
        """The next image of the metadata; `delta` is what differs from the one before."""
        if not any(change.resource.type is ResourceType.BROKER for change in delta.configs):
            return
        for name, effective in node_values(image, self._node_id, self._static).items():
            before = self._values[name]
            if effective.value == before:
                continue
            logger.info("%s is %s now (%s), was %s", name, effective.value, effective.source.value, before)
            try:
                self._followers[name](effective.value)
            except (ValueError, KraftpyError) as error:
                # Every node hears of it in the same moment: a setting must not take all of them down.
                logger.error("%s=%s cannot be followed, and stays %s: %s", name, effective.value, before, error)
                continue
            self._values[name] = effective.value


def _as_followed(setting: DynamicSetting, text: str) -> str:
    """What the file says, as a change would: `broker.configure` takes more spellings than a change may have."""
    meant = next((choice for choice in setting.choices if choice.lower() == text.lower()), text)
    try:
        return str(setting.parse(meant))
    except InvalidConfigError:
        return text
