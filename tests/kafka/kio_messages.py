"""kio's messages of any version, the second opinion on every byte that the Kafka door reads or writes."""

import io
from importlib import import_module
from struct import pack
from typing import Any

from kio.serial import entity_reader, entity_writer


def message(api: str, version: int, kind: str) -> Any:
    """The module of one API's request or response in one version."""
    return import_module(f"kio.schema.{api}.v{version}.{kind}")


def encode(entity: Any) -> bytes:
    out = io.BytesIO()
    entity_writer(type(entity))(out, entity)
    return out.getvalue()


def decode(entity_type: Any, data: bytes) -> Any:
    entity, size = entity_reader(entity_type)(data, 0)
    assert size == len(data), "bytes are left over"
    return entity


def request_frame(entity: Any, correlation_id: int, client_id: str | None) -> bytes:
    """A request with its header, as a client sends it after the length."""
    header_type = type(entity).__header_schema__
    header = header_type(
        request_api_key=type(entity).__api_key__,
        request_api_version=type(entity).__version__,
        correlation_id=correlation_id,
        client_id=client_id,
    )
    return encode(header) + encode(entity)


def response_frame(entity: Any, correlation_id: int) -> bytes:
    return encode(type(entity).__header_schema__(correlation_id=correlation_id)) + encode(entity)


def decode_response_frame(entity_type: Any, frame: bytes) -> tuple[int, Any]:
    """The correlation id and the response."""
    header, size = entity_reader(entity_type.__header_schema__)(frame, 0)
    return header.correlation_id, decode(entity_type, frame[size:])


def header(api_key: int, version: int, correlation_id: int = 1, client_id: bytes | None = b"c") -> bytes:
    """A request header in the old form, by hand, for what kio would not write."""
    text = pack(">h", -1) if client_id is None else pack(">h", len(client_id)) + client_id
    return pack(">hhi", api_key, version, correlation_id) + text
