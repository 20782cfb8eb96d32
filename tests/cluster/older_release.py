"""How a node of an older release begins: this one, with what it knows set back to that release's levels.

It supports those levels only, reads the versions of records that it knew, founds clusters on them, and does not see the
fields that came later. Everything is set back before the modules that take these values are imported. Which release it
is says a module of its own, because that is what `kraftpy.testing.Cluster` can launch:

    python -m tests.cluster.release_0_1 node --id 1 …
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from broker.metadata import codec, features
from broker.metadata.records import RegisterBrokerRecord, SupportedFeature

VERSIONS = {"0.1": dict.fromkeys(codec.VERSIONS, 1), "0.2": {**dict.fromkeys(codec.VERSIONS, 1), "register_broker": 2}}
"""The newest version of each record type that the release read; it knew no other types."""


def set_back(release: str) -> None:
    levels = features.RELEASES[release]
    known = list(features.RELEASES)
    supported = tuple(SupportedFeature(name, 1, level) for name, level in sorted(levels.items()))
    older: dict[str, Any] = {
        "RELEASE": release,
        "SUPPORTED_FEATURES": supported,
        "INITIAL_LEVELS": dict(levels),
        "RELEASES": {name: features.RELEASES[name] for name in known[: known.index(release) + 1]},
    }
    for name, value in older.items():
        setattr(features, name, value)
    codec.VERSIONS.update(VERSIONS[release])
    if release == "0.1":
        read: Callable[[Any], RegisterBrokerRecord] = codec.registration_from_message
        setattr(codec, "registration_from_message", lambda message: replace(read(message), release=""))  # noqa: B010


def begin(release: str) -> None:
    if not sys.stdin.readline():
        sys.exit(1)
    sys.argv[0] = "kraftpy"
    set_back(release)

    from kraftpy.__main__ import main

    main()
