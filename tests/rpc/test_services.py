"""Services that are made with their first call have the methods that they are announced with."""

import asyncio
from collections.abc import Callable
from unittest import mock

import pytest

from broker.rpc import services
from broker.rpc.admin_service import AdminService
from broker.rpc.groups_service import GroupsService
from broker.rpc.transactions_service import TransactionsService
from kraftpy.runtime.ports import Methods

ANY = mock.MagicMock()


@pytest.mark.parametrize(
    ("announced", "made"),
    [
        (services.admin, lambda: AdminService(ANY, ANY, ANY, ANY, ANY).methods()),
        (services.groups, lambda: GroupsService(ANY, ANY, ANY).methods()),
        (services.transactions, lambda: TransactionsService(ANY, ANY).methods()),
    ],
)
def test_all_methods_are_announced(
    announced: Callable[[Callable[[], Methods]], Methods], made: Callable[[], Methods]
) -> None:
    methods = announced(made)
    assert set(methods.unary) == set(made().unary)
    assert methods.stream == made().stream == {}


def test_the_first_call_makes_it_and_every_call_is_answered() -> None:
    made: list[str] = []

    async def echo(data: bytes) -> bytes:
        return data + b"!"

    def make() -> Methods:
        made.append("made")
        return Methods(dict.fromkeys(names, echo), {})

    names = list(services.groups(make).unary)
    methods = services.groups(make)
    assert made == []
    for name in names:
        assert asyncio.run(methods.unary[name](b"hello")) == b"hello!"  # type: ignore[arg-type]
    assert made == ["made"]


def test_the_shelf_has_what_it_says_and_nothing_else() -> None:
    assert services.AdminService is AdminService
    with pytest.raises(AttributeError, match="Nobody"):
        _ = services.Nobody
