"""The error tree agrees with Kafka's table, as kio has generated it from Kafka's sources."""

import pickle
import subprocess
import sys

import pytest
from kio.schema.errors import ErrorCode

from kraftpy import error_codes, errors
from kraftpy.errors import KraftpyError


@pytest.mark.parametrize("kafka", [code for code in ErrorCode if code != 0], ids=lambda code: code.name)
def test_every_code_of_kafka_has_its_name_number_and_retriability(kafka: ErrorCode) -> None:
    error = error_codes.error_for(int(kafka))
    assert error.name == kafka.name.upper()
    assert error.retriable == kafka.retriable
    assert isinstance(error, errors.RetriableError) == kafka.retriable
    assert error_codes.code_of(error) == error_codes.code_of(type(error)) == kafka
    assert error.message


def test_names_are_unique_and_classes_are_named_alike() -> None:
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, KraftpyError)]
    assert len({error.name for error in classes}) == len(classes)
    assert all(error.__name__.endswith("Error") for error in classes)


def test_a_code_from_the_future_is_an_unknown_server_error_that_names_it() -> None:
    error = error_codes.error_for(9999, "new here")
    assert type(error) is errors.UnknownServerError
    assert "9999" in str(error) and "new here" in str(error)


def test_zero_is_not_an_error() -> None:
    with pytest.raises(AssertionError):
        error_codes.error_for(0)


def test_an_error_without_a_code_travels_as_unknown_server_error() -> None:
    assert error_codes.code_of(errors.SerializationError("no")) == -1

    class Special(errors.InvalidRecordError):
        """A closer description."""

    assert error_codes.code_of(Special()) == 87


def test_messages_survive_pickling_and_time_outs_are_timeout_errors() -> None:
    error = pickle.loads(pickle.dumps(errors.DeliveryTimeoutError("too late")))
    assert str(error) == error.message == "too late"
    assert isinstance(error, TimeoutError) and isinstance(error, errors.ClientError)
    assert not errors.DeliveryTimeoutError.retriable


def test_importing_the_errors_is_light() -> None:
    heavy = ("asyncio", "kio", "grpc", "crc32c")
    script = f"import sys; import kraftpy.error_codes; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_message_that_names_something_endless_fits_into_every_answer() -> None:
    """A topic's name may have 32,767 bytes where a client asks for it, and a sentence around it has more."""
    error = errors.InvalidTopicError("there is no topic " + "ü" * 40_000)
    assert error.message.startswith("there is no topic ü")
    assert len(error.message.encode()) < 32_767
    assert errors.InvalidTopicError("short").message == "short"
