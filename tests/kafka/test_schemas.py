"""Every schema of the door is Kafka's, version by version; and what is written is read again."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.kafka.api import Api
from broker.kafka.schema import decode, encode
from tests.kafka.kio_messages import decode as kio_decode
from tests.kafka.kio_messages import encode as kio_encode
from tests.kafka.messages import instances
from tests.kafka.schemas import kio_form, our_form, versions_of
from tests.kafka.tables import SCHEMA_APIS


def _cases() -> list[Any]:
    return [
        pytest.param(api, kind, version, entity, id=f"{api.key.name.lower()}-{kind}-v{version}")
        for api in SCHEMA_APIS
        for kind in ("request", "response")
        for version, entity in versions_of(api.key.name.lower(), kind)
        if api.serves(version)
    ]


@pytest.mark.parametrize("api, kind, version, entity", _cases())
def test_schema_is_kafkas(api: Api, kind: str, version: int, entity: Any) -> None:
    structure = api.request if kind == "request" else api.response
    assert structure is not None
    assert our_form(structure, version, version >= api.flexible_from) == kio_form(entity)


@pytest.mark.parametrize("api", SCHEMA_APIS, ids=lambda api: api.key.name)
def test_every_version_is_compared(api: Api) -> None:
    compared = {version for version, _ in versions_of(api.key.name.lower(), "request")}
    assert compared >= set(range(api.version_min, api.version_max + 1)), "kio lacks a version that we serve"


@pytest.mark.parametrize("api, kind, version, entity", _cases())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_bytes_are_kios(api: Api, kind: str, version: int, entity: Any, data: st.DataObject) -> None:
    """Whatever kio writes is read, and written again byte by byte; kio reads what we write."""
    structure = api.request if kind == "request" else api.response
    assert structure is not None
    flexible = version >= api.flexible_from
    ours = data.draw(instances(structure, version, flexible))
    encoded = bytes(encode(ours, version, flexible=flexible))
    assert decode(structure, encoded, version, flexible=flexible) == ours
    assert kio_encode(kio_decode(entity, encoded)) == encoded
