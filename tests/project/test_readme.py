"""README's Python examples run, as they stand there, against three real nodes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kraftpy.testing import Cluster

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
ADDRESS = "localhost:9092"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3) as running:
        yield running


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of kafka-python, not of ours
def test_examples_of_the_sdk(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    for example in EXAMPLES:
        if ADDRESS in example:
            _run(example.replace(ADDRESS, cluster.kafka_bootstrap))
    printed = capsys.readouterr().out
    assert "greetings" in printed
    assert "b'you' b'hello'" in printed


def test_the_example_of_a_test() -> None:
    (example,) = (each for each in EXAMPLES if "kraftpy.testing" in each)
    (function,) = (value for name, value in _run(example).items() if name.startswith("test_"))
    function()


def _run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(source, "README.md", "exec"), names)
    return names
