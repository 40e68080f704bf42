"""What the inventory does when orders change."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from psycopg2.extensions import cursor as Cursor

from api.inventory import rules, store
from api.inventory.rules import Decision, Line, Reservation, Stock
from api.inventory.store import Inventory
from kernel.clock import Clock
from kernel.context import Context
from kernel.outbox import Outbox
from schemas.event import Event
from streams.engine.consumer import Reaction, Row


def reserve_stock(inventory: Inventory, events: Sequence[Event], clock: Clock) -> None:
    """Reserves stock for orders that were placed, releases that of cancelled ones, in the events' order."""
    events = [event for event in events if event.type in ("OrderPlaced", "OrderCancelled")]
    if not events:
        return
    reservations = inventory.reservations([event.key for event in events])
    stocks = inventory.lock(_skus(events, reservations))
    context = clock.context()
    decisions: list[Decision] = []
    for event in events:
        decision = _decide(event, reservations, stocks, context._replace(traceparent=event.traceparent))
        if decision:
            decisions.append(decision)
            reservations[event.key] = decision.reservation
            stocks.update(rules.stock_after(decision.events))
    last = {decision.reservation.order_id: decision.reservation for decision in decisions}
    published = [event for decision in decisions for event in decision.events]
    inventory.save(published, last.values(), context.now)


def _decide(
    event: Event, reservations: Mapping[str, Reservation], stocks: Mapping[str, Stock], context: Context
) -> Decision | None:
    if event.type == "OrderPlaced":
        return rules.reserve(event.key, _lines(event), stocks, context)
    return rules.release(reservations.get(event.key), stocks, context)


def _lines(placed: Event) -> list[Line]:
    return [Line(line["sku"], line["quantity"]) for line in placed.data["lines"]]


def _skus(events: Sequence[Event], reservations: Mapping[str, Reservation]) -> set[str]:
    wanted = {line.sku for event in events if event.type == "OrderPlaced" for line in _lines(event)}
    return wanted | {line.sku for reservation in reservations.values() for line in reservation.lines}


def _held(orders: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every order has its answer, and what it was promised is held until it is rejected or cancelled."""
    for order in orders:
        yield order["id"], {"held": order["status"] not in ("rejected", "cancelled")}


def reactions(outbox: Outbox, clock: Clock) -> tuple[Reaction, ...]:
    """All of them; they publish to the outbox, and what they decide is decided when the clock says."""

    def handle(cursor: Cursor, events: Sequence[Event]) -> None:
        reserve_stock(Inventory(cursor, outbox), events, clock)

    return (
        Reaction(
            name="inventory.reservations",
            service="inventory",
            topic="marea.order",
            handle=handle,
            expected=_held,
            effects=store.HELD,
        ),
    )
