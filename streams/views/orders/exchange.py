"""Every exchange, and the steps by which it has come where it is."""

from collections.abc import Iterable, Iterator

from kernel.steps import row_of
from schemas import exchange
from schemas.exchange import ExchangeEvent
from streams.engine.consumer import Row

TOPIC = exchange.TOPIC


def fold(row: Row | None, event: ExchangeEvent) -> Row:
    return row_of(row, event, event.data)


def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    return ((state["exchange_id"], state) for state in states)
