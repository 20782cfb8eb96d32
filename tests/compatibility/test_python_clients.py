"""The clients that people use from Python, against kraftpy: the quick part of the matrix, as part of `make test`.

The whole matrix is `make compatibility`; these run the same programs in this environment, one process a client.
"""

import sys
import time
from collections.abc import Iterator

import pytest

from tests.compatibility.capabilities import BY_NAME
from tests.compatibility.case import Verdict
from tests.compatibility.clients.python import PROGRAM_OF, module
from tests.compatibility.clusters import KraftpyCluster
from tests.compatibility.line_protocol import ask

QUICK_SILENCE_S = 70.0
QUICK = (
    "produce-consume",
    "headers",
    "compression",
    "idempotence",
    "group-eager",
    "group-static",
    "admin-topics",
    "admin-configs",
    "admin-partitions",
    "offsets-by-time",
    "delete-records",
)
"""What takes a second or two each. `make compatibility` tries everything."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[KraftpyCluster]:
    with KraftpyCluster() as made:
        yield made


@pytest.mark.parametrize("client", PROGRAM_OF)
def test_client(cluster: KraftpyCluster, client: str) -> None:
    run_name = f"quick{int(time.time())}-{client}"
    for capability in QUICK:
        if partitions := BY_NAME[capability].partitions:
            cluster.create_topic(f"{run_name}-{capability}", partitions)
    command = [sys.executable, "-m", module(PROGRAM_OF[client])]
    answers = list(ask(command, cluster.bootstrap, run_name, QUICK, QUICK_SILENCE_S))
    assert [(answer.capability, answer.note) for answer in answers if answer.verdict is not Verdict.PASSED] == []
