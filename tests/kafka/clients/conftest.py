"""One cluster of three nodes for all programs of other clients, and topics of their own for each test.

What other clients warn of is not ours to put right, so their warnings are no errors here.
"""

import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kraftpy.testing import Cluster

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import aiokafka  # noqa: F401
    import confluent_kafka  # noqa: F401
    import kafka  # noqa: F401

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(autouse=True)
def litter() -> Iterator[None]:
    """Sockets that a client forgot to close are collected here, where their warnings are no errors."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3, config={"min.insync.replicas": 2, "num.partitions": 3}) as running:
        yield running


@pytest.fixture
def topic(cluster: Cluster, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Makes a topic that is called after the test."""

    def create(partitions: int = 3, **config: str) -> str:
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        settings = {key.replace("_", "."): value for key, value in config.items()}
        cluster.admin.create_topic(name, partitions=partitions, replication_factor=3, config=settings)
        cluster.wait_in_sync()  # as every node sees it
        return name

    return create
