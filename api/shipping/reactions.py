"""What shipping does when orders are confirmed or stopped, when they are paid for, and when an exchange wants units back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast, get_args

from psycopg2.extensions import cursor as Cursor

from api.shipping import facts, returns, rules, store
from api.shipping.returns import Delivered, Returns
from api.shipping.rules import Fulfilment
from api.shipping.store import ARRIVE_BY, HAND_OVER, LABEL, RETURN_BY, Shipping
from kernel.aggregates import Changed, Kept, Notes, heard, newest
from kernel.clock import Clock
from kernel.context import Context
from kernel.deadlines import Due
from kernel.outbox import Outbox
from kernel.tasks import Task
from schemas import exchange, order, payment
from schemas.event import Event
from schemas.exchange import ExchangeEvent
from schemas.fulfilment import FulfilmentEvent
from schemas.order import OrderEvent
from schemas.payment import PaymentEvent, PaymentEventType
from schemas.returns import ReturnsEvent
from streams.engine.consumer import Reaction, Row

#: What an event of somebody else means for the notes of a fulfilment, or of returns.
Hear = Callable[[Notes, Any], Notes]


def hear_orders(shipping: Shipping, events: Sequence[OrderEvent], clock: Clock) -> None:
    """Orders are confirmed, and to be sent; or units of them are to be stopped."""
    found = shipping.fulfilments.lock_or_add(sorted({event.key for event in events}))
    _hear_all(shipping, found, events, _of_order, clock)


def hear_payments(shipping: Shipping, events: Sequence[PaymentEvent], clock: Clock) -> None:
    """Parcels are paid for, or can't be. What payments say before there is a parcel is kept."""
    found = shipping.fulfilments.lock_or_add(sorted({event.key for event in events}))
    _hear_all(shipping, found, events, _of_payment, clock)
    hear_for_returns(shipping, list(newest(events).values()), _settled, clock)


def hear_taken(shipping: Shipping, events: Sequence[OrderEvent], clock: Clock) -> None:
    """Orders have taken returns in."""
    hear_for_returns(shipping, list(newest(events).values()), _taken, clock)


def hear_exchanges(shipping: Shipping, events: Sequence[ExchangeEvent], clock: Clock) -> None:
    """Units are to come back for an exchange: a return is asked for, or refused, as that is what the exchange waits for."""
    by_order = {event.data["order_id"]: event for event in events}
    ids = sorted(by_order)
    parcels = shipping.fulfilments.lock_or_add(ids)
    found = shipping.returns.lock_or_add(ids)
    context = clock.context()
    changes: list[tuple[Kept[returns.State], list[ReturnsEvent], Notes]] = []
    for event in events:
        kept = found[event.data["order_id"]]
        caused = context._replace(traceparent=event.traceparent)
        wanted = facts.wanted(event.data)
        state = parcels[event.data["order_id"]].state
        there = facts.arrived(state) if state else None
        asked = returns.request_for_exchange(returns_of(kept), there, wanted, returns.WITHIN, caused)
        if asked:
            changes.append((kept, [asked], kept.notes))
    save_returns(shipping, changes)


def hear_for_returns(shipping: Shipping, events: Sequence[Event[Any, Any]], hear: Hear, clock: Clock) -> None:
    """What of orders that have returns became known."""
    found = shipping.returns.lock(sorted(event.key for event in events))
    context = clock.context()
    by_key = {event.key: event for event in events}
    changes: list[tuple[Kept[returns.State], list[ReturnsEvent], Notes]] = []
    for order_id, kept in found.items():
        notes = hear(kept.notes, by_key[order_id])
        if notes is not kept.notes:
            now = returns_of(kept)._replace(facts=cast("returns.Facts", notes))
            changes.append((kept, returns.run(now, context), notes))
    save_returns(shipping, changes)


def fulfilment_of(kept: Kept[rules.State]) -> Fulfilment:
    """A fulfilment as the rules know it."""
    return Fulfilment(kept.id, kept.version, kept.state, cast("rules.Facts", kept.notes))


def returns_of(kept: Kept[returns.State]) -> Returns:
    """An order's returns as the rules know them."""
    return Returns(kept.id, kept.version, kept.state, cast("returns.Facts", kept.notes))


def delivered_of(kept: Kept[rules.State] | None) -> Delivered | None:
    """What of an order can come back."""
    return facts.arrived(kept.state) if kept and kept.state else None


def save(
    shipping: Shipping,
    changed: Sequence[tuple[Kept[rules.State], Sequence[FulfilmentEvent], Notes]],
    context: Context,
    answer: Any = None,
) -> None:
    """Writes what has become of locked fulfilments, asks the carrier for what they want of it, and watches over what is under way."""
    shipping.fulfilments.save([Changed(*each) for each in changed], answer)
    shipping.ask([task for _, events, _ in changed for event in events for task in _wanted(event)], context.now)
    # After the lock, as it is not known before when: should the timer be at the same order now, it gives way.
    for kept, events, _ in changed:
        if any(event.type == "ShipmentDispatched" or event.type == "ShipmentOverdue" for event in events):
            expected = rules.expected_next(events[-1].data)
            shipping.set([Due(kept.id, ARRIVE_BY, expected)] if expected else [])


def save_returns(
    shipping: Shipping,
    changed: Sequence[tuple[Kept[returns.State], Sequence[ReturnsEvent], Notes]],
    answer: Any = None,
) -> None:
    """Writes what has become of locked returns, and watches over those that wait."""
    shipping.returns.save([Changed(*each) for each in changed], answer)
    for kept, events, _ in changed:
        expires = returns.expires_next(events[-1].data) if events else None
        shipping.set([Due(kept.id, RETURN_BY, expires)] if expires else [])


def _hear_all(
    shipping: Shipping, found: Mapping[str, Kept[rules.State]], events: Sequence[Event[Any, Any]], hear: Hear, clock: Clock
) -> None:
    """Each event counts: a confirmed order is planned, whatever came of it since."""
    notes = {order_id: kept.notes for order_id, kept in found.items()}
    causes: dict[str, Event[Any, Any]] = {}
    for event in events:
        notes[event.key] = hear(notes[event.key], event)
        causes[event.key] = event
    context = clock.context()
    changes: list[tuple[Kept[rules.State], list[FulfilmentEvent], Notes]] = []
    for order_id, kept in found.items():
        if notes[order_id] is not kept.notes:
            now = fulfilment_of(kept)._replace(facts=cast("rules.Facts", notes[order_id]))
            caused = context._replace(traceparent=causes[order_id].traceparent)
            changes.append((kept, rules.run(now, caused), notes[order_id]))
    save(shipping, changes, context)


def _wanted(event: FulfilmentEvent) -> Iterator[Task]:
    """A parcel that is ready needs a label; one that has left is the carrier's from then on."""
    for shipment in event.data["shipments"]:
        parcel = f"{event.key}.{shipment['number']}"
        arguments = {"order_id": event.key, "shipment": shipment["number"], "tracking": shipment["tracking"]}
        if event.type == "ShipmentReady" and shipment["status"] == "ready" and shipment["tracking"] is None:
            yield Task(f"{parcel}.label", LABEL, arguments, traceparent=event.traceparent)
        if event.type == "ShipmentDispatched" and shipment["status"] == "dispatched":
            yield Task(f"{parcel}.hand-over", HAND_OVER, arguments, traceparent=event.traceparent)


def _of_order(notes: Notes, event: OrderEvent) -> Notes:
    if event.type == "OrderConfirmed":
        return heard(notes, "order", event, confirmed=facts.confirmed(event.data))
    return heard(notes, "order", event, stop=facts.stop(cast("Any", event.data)))


def _of_payment(notes: Notes, event: PaymentEvent) -> Notes:
    if "payment" not in notes and facts.paid(event.data) == facts.NOTHING_PAID:
        return notes
    return heard(notes, "payment", event, payment=facts.paid(event.data))


def _taken(notes: Notes, event: OrderEvent) -> Notes:
    return heard(notes, "order", event, order=facts.taken(cast("Any", event.data)))


def _settled(notes: Notes, event: PaymentEvent) -> Notes:
    return heard(notes, "payment", event, settled_version=event.data["settled_version"])


def _planned(orders: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every order that was confirmed once is planned."""
    for each in orders:
        if any(step["type"] == "OrderConfirmed" for step in each["steps"]):
            yield each["order_id"], {"is_planned": True}


def _paid(payments: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every fulfilment knows what its payment says."""
    for each in payments:
        if (paid := facts.paid(cast("Any", each))) != facts.NOTHING_PAID:
            yield each["order_id"], {"payment": paid}


def _returned(orders: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Returns know which of them their order has taken in."""
    for each in orders:
        if each["returns_taken"]:
            yield each["order_id"], {"order": facts.taken(cast("Any", each))}


def _exchanged(found: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every exchange that wants units back has its return, or its refusal."""
    for each in found:
        if any(step["type"] == "ExchangeReturnWanted" for step in each["steps"]):
            yield each["exchange_id"], {"is_known": True}


def reactions(outbox: Outbox[FulfilmentEvent | ReturnsEvent], clock: Clock) -> tuple[Reaction, ...]:
    """All of them; they publish to the outbox, and what they decide is decided when the clock says.

    They begin now: nothing is sent for what happened before there was shipping.
    """

    def reaction(name: str, topic: Any, types: Iterable[str], hear: Callable[..., None], expected: Any, effects: str) -> Reaction:
        def handle(cursor: Cursor, events: Sequence[Any]) -> None:
            hear(Shipping(cursor, outbox), events, clock)

        return Reaction(f"shipping.{name}", "shipping", topic, frozenset(types), handle, expected, effects, start="now")

    # An authorization tells shipping nothing: what it is for is not packed.
    paid = {*get_args(PaymentEventType)} - {"PaymentAuthorized"}
    return (
        reaction("orders", order.TOPIC, {"OrderConfirmed", "OrderCancelRequested"}, hear_orders, _planned, store.PLANNED),
        reaction("payments", payment.TOPIC, paid, hear_payments, _paid, store.PAID),
        reaction("taken", order.TOPIC, {"OrderDueChanged"}, hear_taken, _returned, store.known("returns", "order")),
        reaction("exchanges", exchange.TOPIC, {"ExchangeReturnWanted"}, hear_exchanges, _exchanged, store.EXCHANGED),
    )
