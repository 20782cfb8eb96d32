"""Settings that make no sense are refused by name."""

import pytest

from raft.config import RaftConfig


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fetch_timeout_ms": 0}, r"^controller\.quorum\.fetch\.timeout\.ms lies between 1 and 2147483647, not 0"),
        ({"reads_max": 0}, "^reads_max lies between 1 and 2147483647, not 0"),
        ({"retry_backoff_ms": 2**31}, r"^controller\.quorum\.retry\.backoff\.ms lies between .*, not 2147483648"),
        ({"fetch_timeout_ms": 900}, "at least twice fetch_max_wait_ms"),
        ({"keep_alive_ms": 1_100}, "at least twice keep_alive_ms"),
    ],
)
def test_a_setting_is_refused(settings: dict[str, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        RaftConfig(**settings)
