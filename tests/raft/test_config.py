"""Settings that make no sense are refused by name."""

import pytest

from raft.config import RaftConfig


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fetch_timeout_ms": 0}, "fetch_timeout_ms must be at least 1"),
        ({"fetch_timeout_ms": 900}, "at least twice fetch_max_wait_ms"),
        ({"keep_alive_ms": 1_100}, "at least twice keep_alive_ms"),
    ],
)
def test_a_setting_is_refused(settings: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RaftConfig(**settings)
