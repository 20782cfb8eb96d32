"""How a node of the release before this one begins: this one, with what it knows set back by a level.

    python -m tests.cluster.previous_release node --id 1 …

It supports metadata.version 1 only, reads version 1 of every record, founds clusters on level 1, and does not see the
fields that came later. Everything is set back before the modules that take these values are imported.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from broker.metadata import codec, features
from broker.metadata.records import RegisterBrokerRecord, SupportedFeature

RELEASE = "0.1"
LEVELS = features.RELEASES[RELEASE]


def set_back() -> None:
    supported = tuple(SupportedFeature(name, 1, level) for name, level in sorted(LEVELS.items()))
    older: dict[str, Any] = {
        "RELEASE": RELEASE,
        "SUPPORTED_FEATURES": supported,
        "INITIAL_LEVELS": dict(LEVELS),
        "RELEASES": {RELEASE: LEVELS},
    }
    for name, value in older.items():
        setattr(features, name, value)
    codec.VERSIONS.update(dict.fromkeys(codec.VERSIONS, 1))
    read: Callable[[Any], RegisterBrokerRecord] = codec.registration_from_message
    setattr(codec, "registration_from_message", lambda message: replace(read(message), release=""))  # noqa: B010


if __name__ == "__main__":
    if not sys.stdin.readline():
        sys.exit(1)
    sys.argv[0] = "kraftpy"
    set_back()

    from kraftpy.__main__ import main

    main()
