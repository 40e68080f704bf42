"""What the inventory does when orders change."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from psycopg2.extensions import cursor as Cursor

from api.inventory import rules, store
from api.inventory.rules import Decision, Line, Reservation, Stock
from api.inventory.store import Inventory
from kernel.clock import Clock
from kernel.context import Context
from kernel.outbox import Outbox
from schemas import order
from schemas.order import OrderCancelled, OrderEvent, OrderPlaced
from schemas.reservation import ReservationEvent
from schemas.stock import StockEvent
from streams.engine.consumer import Reaction, Row


def reserve_stock(inventory: Inventory, events: Sequence[OrderEvent], clock: Clock) -> None:
    """Reserves stock for orders that were placed, releases that of cancelled ones, in the events' order."""
    asked: list[OrderPlaced | OrderCancelled] = [
        event for event in events if event.type == "OrderPlaced" or event.type == "OrderCancelled"
    ]
    if not asked:
        return
    reservations = inventory.reservations([event.key for event in asked])
    stocks = inventory.lock(_skus(asked, reservations))
    context = clock.context()
    decisions: list[Decision] = []
    for event in asked:
        decision = _decide(event, reservations, stocks, context._replace(traceparent=event.traceparent))
        if decision:
            decisions.append(decision)
            reservations[event.key] = decision.reservation
            stocks.update(rules.stock_after(decision.stock))
    inventory.keep(decisions, context.now)


def _decide(
    event: OrderPlaced | OrderCancelled,
    reservations: Mapping[str, Reservation],
    stocks: Mapping[str, Stock],
    context: Context,
) -> Decision | None:
    reservation = reservations.get(event.key)
    if event.type == "OrderPlaced":
        return rules.reserve(event.key, _lines(event), reservation, stocks, context)
    return rules.release(reservation, stocks, context)


def _lines(placed: OrderPlaced) -> list[Line]:
    return [Line(line["sku"], line["quantity"]) for line in placed.data["lines"]]


def _skus(events: Sequence[OrderPlaced | OrderCancelled], reservations: Mapping[str, Reservation]) -> set[str]:
    wanted = {line.sku for event in events if event.type == "OrderPlaced" for line in _lines(event)}
    return wanted | {line.sku for reservation in reservations.values() for line in reservation.lines}


def _held(orders: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every order has its answer, and what it was promised is held until it is rejected or cancelled."""
    for each in orders:
        yield each["id"], {"held": each["status"] not in ("rejected", "cancelled")}


def reactions(outbox: Outbox[StockEvent | ReservationEvent], clock: Clock) -> tuple[Reaction, ...]:
    """All of them; they publish to the outbox, and what they decide is decided when the clock says."""

    def handle(cursor: Cursor, events: Sequence[OrderEvent]) -> None:
        reserve_stock(Inventory(cursor, outbox), events, clock)

    return (
        Reaction(
            name="inventory.reservations",
            service="inventory",
            topic=order.TOPIC,
            types=frozenset({"OrderPlaced", "OrderCancelled"}),
            handle=handle,
            expected=_held,
            effects=store.HELD,
        ),
    )
