"""Errors go from process to process: a pool whose result cannot be unpickled hangs."""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from kraftpy.client.partitioners import InvalidPartitionError
from kraftpy.client.serializers import RecordDeserializationError
from kraftpy.client.starting import LogTruncatedError
from kraftpy.errors import KraftpyError
from kraftpy.runtime.grpc_transport import ForkedError
from kraftpy.testing.cluster import ClusterError, PortInUseError

OWN_ARGUMENTS: dict[type[Exception], tuple[Any, ...]] = {
    ForkedError: (),
    InvalidPartitionError: ("lines", 7, 2),
    RecordDeserializationError: ("lines", 0, 5, "value", ValueError("no number")),
}


def tree(root: type[KraftpyError]) -> Iterator[type[KraftpyError]]:
    yield root
    for each in root.__subclasses__():
        if each.__module__.startswith("kraftpy."):
            yield from tree(each)


CLASSES = list(dict.fromkeys([*tree(KraftpyError), LogTruncatedError, ForkedError, ClusterError, PortInUseError]))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_in_another_process(kind: type[Exception]) -> None:
    error = kind(*OWN_ARGUMENTS.get(kind, ("it is so",)))
    error.add_note("while reading")
    for again in (pickle.loads(pickle.dumps(error)), pickle.loads(pickle.dumps(error, 0)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error) and again.args == error.args
        assert vars(again) == vars(error)
