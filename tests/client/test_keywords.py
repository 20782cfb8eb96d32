"""What type checkers know of the clients' arguments is what the configuration classes take."""

from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from kraftpy.client.config import AdminConfig, ConsumerConfig, ProducerConfig
from kraftpy.client.keywords import AdminKeywords, ConsumerKeywords, ProducerKeywords


@pytest.mark.parametrize(
    ("config", "keywords"),
    [(ProducerConfig, ProducerKeywords), (ConsumerConfig, ConsumerKeywords), (AdminConfig, AdminKeywords)],
)
def test_keywords_and_settings_are_the_same(config: type[Any], keywords: type[Any]) -> None:
    typed = get_type_hints(keywords)
    aliases = {
        "bootstrap_servers": "bootstrap",
        "max_in_flight_requests_per_connection": "max_in_flight",
        "assignors": "partition_assignment_strategy",
        "auto_commit": "enable_auto_commit",
    }
    hints = get_type_hints(config)
    assert {aliases.get(name, name) for name in typed} == {known.name for known in fields(config)}
    assert all(kind == hints[aliases.get(name, name)] for name, kind in typed.items())


@pytest.mark.parametrize("config", [ProducerConfig, ConsumerConfig, AdminConfig])
def test_every_setting_is_documented(config: type[Any]) -> None:
    assert all(known.metadata["documentation"].endswith(".") for known in fields(config))


def test_importing_kraftpy_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = "{'grpc', 'google', 'uvloop', 'crc32c', 'cramjam', 'asyncio', 'kio'}"
    code = f"import sys, kraftpy, kraftpy.aio; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_can_be_had() -> None:
    import kraftpy
    import kraftpy.aio

    for module in (kraftpy, kraftpy.aio):
        for name in module.__all__:
            assert getattr(module, name).__name__ == name
        with pytest.raises(AttributeError):
            _ = module.Nonsense
