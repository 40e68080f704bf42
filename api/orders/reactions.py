"""What orders do when products change, and when the inventory has decided."""

from collections.abc import Iterable, Iterator, Sequence

from psycopg2.extensions import cursor as Cursor

from api.orders import rules, store
from api.orders.rules import Order, Price
from kernel import outbox
from kernel.context import Context
from schemas.event import Event
from streams.engine.consumer import NotYet, Reaction, Row


def copy_prices(cursor: Cursor, events: Sequence[Event]) -> None:
    """Keeps orders' own copy of the catalog: each product as its last event says."""
    last = {
        event.key: event
        for event in events
        if event.type in ("ProductCreated", "ProductUpdated", "ProductArchived")
    }
    if last:
        store.copy_prices(cursor, list(last.values()))


def settle_orders(cursor: Cursor, events: Sequence[Event]) -> None:
    """Confirms orders whose stock is reserved, rejects those whose is refused; a cancelled one stays so.

    Raises NotYet when there is no such order.
    """
    answers = {
        event.key: event for event in events if event.type in ("ReservationMade", "ReservationRefused")
    }
    if not answers:
        return
    found = store.lock(cursor, answers)
    missing = answers.keys() - found.keys()
    if missing:
        raise NotYet(f"no order {', '.join(sorted(missing))}")
    context = outbox.context(None)
    changes: list[tuple[Order, Event]] = []
    for order_id, order in found.items():
        answer = answers[order_id]
        event = _settle(order, answer, context._replace(traceparent=answer.traceparent))
        if event:
            changes.append((order, event))
    store.change_many(cursor, changes)


def _settle(order: Order, answer: Event, context: Context) -> Event | None:
    if answer.type == "ReservationMade":
        return rules.confirm(order, context)
    return rules.reject(order, answer.data["reason"], context)


def _copied(products: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """The copy has every product as it is."""
    for product in products:
        yield product["sku"], {name: product[name] for name in ("sku", "version", *Price._fields, "archived")}


def _settled(reservations: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every order that has its answer is past waiting for it."""
    for reservation in reservations:
        yield reservation["order_id"], {"settled": True}


REACTIONS: tuple[Reaction, ...] = (
    Reaction(
        name="orders.prices",
        service="orders",
        topic="marea.product",
        handle=copy_prices,
        expected=_copied,
        effects=store.COPIED,
    ),
    Reaction(
        name="orders.outcomes",
        service="orders",
        topic="marea.reservation",
        handle=settle_orders,
        expected=_settled,
        effects=store.SETTLED,
    ),
)
