"""What orders do when products change, and when the inventory has decided."""

from collections.abc import Iterable, Iterator, Sequence

from psycopg2.extensions import cursor as Cursor

from api.orders import rules, store
from api.orders.rules import Order, Price
from api.orders.store import Orders
from kernel.clock import Clock
from kernel.context import Context
from kernel.outbox import Outbox
from schemas import product, reservation
from schemas.order import OrderConfirmed, OrderEvent, OrderRejected
from schemas.product import ProductEvent
from schemas.reservation import ReservationEvent, ReservationMade, ReservationRefused
from streams.engine.consumer import NotYet, Reaction, Row


def copy_prices(orders: Orders, events: Sequence[ProductEvent]) -> None:
    """Keeps orders' own copy of the catalog: each product as its last event says."""
    orders.copy_prices(list({event.key: event for event in events}.values()))


def settle_orders(orders: Orders, events: Sequence[ReservationEvent], clock: Clock) -> None:
    """Confirms orders whose stock is reserved, rejects those whose is refused; a cancelled one stays so.

    Raises NotYet when there is no such order.
    """
    answers: dict[str, ReservationMade | ReservationRefused] = {
        event.key: event
        for event in events
        if event.type == "ReservationMade" or event.type == "ReservationRefused"
    }
    if not answers:
        return
    orders.clear_pay_by(answers)
    found = orders.lock(answers)
    missing = answers.keys() - found.keys()
    if missing:
        raise NotYet(f"no order {', '.join(sorted(missing))}")
    context = clock.context()
    changes: list[tuple[Order, OrderEvent]] = []
    for order_id, order in found.items():
        answer = answers[order_id]
        event = _settle(order, answer, context._replace(traceparent=answer.traceparent))
        if event:
            changes.append((order, event))
    orders.change_many(changes)


def _settle(
    order: Order, answer: ReservationMade | ReservationRefused, context: Context
) -> OrderConfirmed | OrderRejected | None:
    if answer.type == "ReservationMade":
        return rules.confirm(order, context)
    return rules.reject(order, answer.data["reason"], context)


def _copied(products: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """The copy has every product as it is."""
    for each in products:
        yield each["sku"], {name: each[name] for name in ("sku", "version", *Price._fields, "archived")}


def _settled(reservations: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every order that has its answer is past waiting for it."""
    for each in reservations:
        yield each["order_id"], {"settled": True}


def reactions(outbox: Outbox[OrderEvent], clock: Clock) -> tuple[Reaction, ...]:
    """All of them; they publish to the outbox, and what they decide is decided when the clock says."""

    def copy(cursor: Cursor, events: Sequence[ProductEvent]) -> None:
        copy_prices(Orders(cursor, outbox), events)

    def settle(cursor: Cursor, events: Sequence[ReservationEvent]) -> None:
        settle_orders(Orders(cursor, outbox), events, clock)

    return (
        Reaction(
            name="orders.prices",
            service="orders",
            topic=product.TOPIC,
            types=frozenset({"ProductCreated", "ProductUpdated", "ProductArchived"}),
            handle=copy,
            expected=_copied,
            effects=store.COPIED,
        ),
        Reaction(
            name="orders.outcomes",
            service="orders",
            topic=reservation.TOPIC,
            types=frozenset({"ReservationMade", "ReservationRefused"}),
            handle=settle,
            expected=_settled,
            effects=store.SETTLED,
        ),
    )
