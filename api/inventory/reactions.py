"""What the inventory does when orders change, when parcels leave the house, and when units come back."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from psycopg2.extensions import cursor as Cursor

from api.inventory import facts, rules, store
from api.inventory.rules import Facts, Reservation, Stock
from api.inventory.store import Inventory
from kernel.aggregates import Changed, Kept, Notes, heard
from kernel.clock import Clock
from kernel.context import Context
from kernel.outbox import Outbox
from schemas import fulfilment, order, returns
from schemas.event import Event
from schemas.fulfilment import FulfilmentEvent
from schemas.order import OrderEvent
from schemas.reservation import ReservationEvent
from schemas.returns import ReturnsEvent
from schemas.stock import StockEvent
from streams.engine.consumer import Reaction, Row

#: What an event of somebody else means for the notes of a reservation.
Hear = Callable[[Notes, Any], Notes]


def hear_orders(inventory: Inventory, events: Sequence[OrderEvent], clock: Clock) -> None:
    """Reserves stock for orders that were placed, releases what of them was cancelled."""
    _hear(inventory, events, _of_order, clock)


def hear_fulfilments(inventory: Inventory, events: Sequence[FulfilmentEvent], clock: Clock) -> None:
    """Units that left the house are not on hand any more."""
    _hear(inventory, events, _of_fulfilment, clock)


def hear_returns(inventory: Inventory, events: Sequence[ReturnsEvent], clock: Clock) -> None:
    """Units that came back, and can be sold again, are on hand."""
    _hear(inventory, events, _of_returns, clock)


def _hear(inventory: Inventory, events: Sequence[Event[Any, Any]], hear: Hear, clock: Clock) -> None:
    """Keeps what each reservation has to know, and does what follows; in the order of the events, as stock is short."""
    ids = list(dict.fromkeys(event.key for event in events))
    found = inventory.reservations.lock_or_add(ids)
    notes = {order_id: kept.notes for order_id, kept in found.items()}
    causes: dict[str, Event[Any, Any]] = {}
    for event in events:
        notes[event.key] = hear(notes[event.key], event)
        causes[event.key] = event
    new = [order_id for order_id in ids if notes[order_id] is not found[order_id].notes]
    stocks = inventory.lock({sku for order_id in new for sku in rules.skus_of(_reservation(found[order_id]), cast("Facts", notes[order_id]))})
    context = clock.context()
    changes: list[Changed[rules.State]] = []
    of_stock: list[StockEvent] = []
    for order_id in new:
        caused = context._replace(traceparent=causes[order_id].traceparent)
        change, moved = _decided(found[order_id], cast("Facts", notes[order_id]), stocks, caused)
        changes.append(change)
        of_stock += moved
    inventory.save(of_stock, context.now)
    inventory.reservations.save(changes)


def _decided(
    kept: Kept[rules.State], facts: Facts, stocks: dict[str, Stock], context: Context
) -> tuple[Changed[rules.State], list[StockEvent]]:
    """What becomes of a reservation and of stock, which is then as it is after that."""
    reservation = _reservation(kept)
    events: list[ReservationEvent] = []
    moved: list[StockEvent] = []
    while decision := rules.decide(reservation, facts, stocks, context):
        facts = decision.facts
        moved += decision.stock
        stocks.update(rules.stock_after(decision.stock))
        if decision.event:
            events.append(decision.event)
            reservation = reservation._replace(version=decision.event.version, state=rules.reservation_after(decision.event))
    return Changed(kept, events, cast("Notes", facts)), moved


def _reservation(kept: Kept[rules.State]) -> Reservation:
    return Reservation(kept.id, kept.version, kept.state)


def _of_order(notes: Notes, event: OrderEvent) -> Notes:
    """An order is placed once: its reservation, or the refusal, is its answer for ever."""
    if event.type == "OrderPlaced":
        return heard(notes, "order", event, placed=facts.placed(event.data))
    return heard(notes, "order", event, stopped={"version": event.version, "units": facts.stopped(event.data)})


def _of_fulfilment(notes: Notes, event: FulfilmentEvent) -> Notes:
    return heard(notes, "fulfilment", event, gone=facts.gone(event.data))


def _of_returns(notes: Notes, event: ReturnsEvent) -> Notes:
    returned = facts.returned(event.data)
    return heard(notes, "returns", event, returned=returned) if returned else notes


def _answered(orders: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every order has its answer, to the version that cancelled lines last."""
    for each in orders:
        yield each["order_id"], {"version": max(1, each["undone_version"])}


def _shipped(fulfilments: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """What has left the house is known."""
    for each in fulfilments:
        if gone := facts.gone(cast("Any", each)):
            yield each["order_id"], {"gone": gone}


def _restocked(found: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """What came back and can be sold again is counted."""
    for each in found:
        if returned := facts.returned(cast("Any", each)):
            yield each["order_id"], {"restocked": list(returned)}


def reactions(outbox: Outbox[StockEvent | ReservationEvent], clock: Clock) -> tuple[Reaction, ...]:
    """All of them; they publish to the outbox, and what they decide is decided when the clock says."""

    def reaction(name: str, topic: Any, types: set[str], hear: Callable[..., None], expected: Any, effects: str) -> Reaction:
        def handle(cursor: Cursor, events: Sequence[Any]) -> None:
            hear(Inventory(cursor, outbox), events, clock)

        return Reaction(f"inventory.{name}", "inventory", topic, frozenset(types), handle, expected, effects)

    placed = {"OrderPlaced", "OrderLinesCancelled"}
    gone = {"ShipmentDispatched"}
    return (
        reaction("reservations", order.TOPIC, placed, hear_orders, _answered, store.STOPPED),
        reaction("shipments", fulfilment.TOPIC, gone, hear_fulfilments, _shipped, store.GONE),
        reaction("returns", returns.TOPIC, {"ReturnAccepted"}, hear_returns, _restocked, store.RESTOCKED),
    )
