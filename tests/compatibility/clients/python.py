"""The clients in Python; the versions are those of `programs/python/requirements.txt`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.compatibility.cache import PROGRAMS, Cache
from tests.compatibility.clients.library import Library

ROOT = Path(__file__).parents[3]
PROGRAM_OF = {"kafka-python": "kafka_python", "aiokafka": "aiokafka_client", "confluent-kafka": "confluent"}
"""By package, the module of its program."""

NO_CONSUMER_PROTOCOL = "it does not have the new protocol"


def module(name: str) -> str:
    return f"tests.compatibility.programs.python.{name}"


def versions() -> dict[str, str]:
    """By package, what is pinned."""
    lines = (PROGRAMS / "python" / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def in_its_environment(name: str) -> Callable[[Cache], Sequence[str]]:
    """What starts a program in the environment that the cache holds."""

    def command(cache: Cache) -> Sequence[str]:
        return ["env", f"PYTHONPATH={ROOT}", str(cache.python()), "-m", module(name)]

    return command


PYTHON_CLIENTS = (
    Library(
        f"kafka-python {versions()['kafka-python']}",
        in_its_environment(PROGRAM_OF["kafka-python"]),
        absent={"group-consumer": NO_CONSUMER_PROTOCOL},
    ),
    Library(
        f"aiokafka {versions()['aiokafka']}",
        in_its_environment(PROGRAM_OF["aiokafka"]),
        absent={
            "group-cooperative": "its members always give up all partitions in a rebalance",
            "group-consumer": NO_CONSUMER_PROTOCOL,
        },
    ),
    Library(f"confluent-kafka {versions()['confluent-kafka']}", in_its_environment(PROGRAM_OF["confluent-kafka"])),
)
