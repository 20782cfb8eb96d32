"""One fake cluster for all tests of a module; each test uses topics of its own."""

from collections.abc import Iterator

import pytest

from tests.cli.served import ServedCluster


@pytest.fixture(scope="module")
def served() -> Iterator[ServedCluster]:
    made = ServedCluster()
    yield made
    made.close()
