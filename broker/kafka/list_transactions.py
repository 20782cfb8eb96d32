"""ListTransactions (key 66), versions 0–2: the transactional ids that this broker coordinates. KIP-664, 994, 1152."""

from broker.coordinator.pattern import NamePattern
from broker.coordinator.transactions import commands
from broker.coordinator.transactions.commands import TransactionListing
from broker.coordinator.transactions.service import TransactionService
from broker.coordinator.transactions.states import state_called
from broker.kafka.api import Api, ApiKey, Request, message_api
from broker.kafka.messages.list_transactions import (
    FLEXIBLE_FROM,
    VERSION_MAX,
    VERSION_MIN,
    ListedTransaction,
    ListTransactionsRequest,
    ListTransactionsResponse,
)
from kraftpy.error_codes import code_of
from kraftpy.errors import KraftpyError


class ListTransactions:
    """The handler."""

    def __init__(self, transactions: TransactionService) -> None:
        self._transactions = transactions

    def api(self) -> Api:
        return message_api(
            ApiKey.LIST_TRANSACTIONS,
            (VERSION_MIN, VERSION_MAX),
            FLEXIBLE_FROM,
            ListTransactionsRequest,
            ListTransactionsResponse,
            self._respond,
        )

    async def _respond(self, request: ListTransactionsRequest, header: Request) -> ListTransactionsResponse:
        unknown = tuple(name for name in request.states if state_called(name) is None)
        states = frozenset(state for state in map(state_called, request.states) if state is not None)
        if request.states and not states:
            return ListTransactionsResponse(unknown_states=unknown)
        wanted = request.transactional_id_pattern
        try:
            pattern = NamePattern(wanted) if wanted else None
            command = commands.ListTransactions(states, frozenset(request.producer_ids), request.duration_ms, pattern)
            found = await self._transactions.list_transactions(command)
        except KraftpyError as error:
            return ListTransactionsResponse(error=code_of(error), unknown_states=unknown)
        return ListTransactionsResponse(unknown_states=unknown, transactions=tuple(map(_listed, found)))


def _listed(found: TransactionListing) -> ListedTransaction:
    return ListedTransaction(
        transactional_id=found.transactional_id, producer_id=found.producer_id, state=found.state.label
    )
