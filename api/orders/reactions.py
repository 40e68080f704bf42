"""What orders do when products change, and when the others have done their part."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast, get_args

from psycopg2.extensions import cursor as Cursor

from api.orders import exchanges, facts, rules, store
from api.orders.exchanges import Exchange
from api.orders.placing import Price
from api.orders.rules import Facts, Order
from api.orders.store import HOLD_BY, PAY_BY, Orders
from kernel.aggregates import Changed, Kept, Notes, heard, newest
from kernel.clock import Clock
from kernel.context import Context
from kernel.deadlines import Due
from kernel.outbox import Outbox
from schemas import exchange, fulfilment, order, payment, product, reservation, returns
from schemas.event import Event
from schemas.exchange import ExchangeEvent
from schemas.fulfilment import FulfilmentEvent
from schemas.order import OrderEvent
from schemas.payment import PaymentEvent, PaymentEventType
from schemas.product import ProductEvent
from schemas.reservation import ReservationEvent, ReservationEventType
from schemas.returns import ReturnsEvent
from streams.engine.consumer import NotYet, Reaction, Row

#: What an event of somebody else means for the notes of an order, or of an exchange.
Hear = Callable[[Notes, Event[Any, Any]], Notes]


def copy_prices(orders: Orders, events: Sequence[ProductEvent]) -> None:
    """Keeps orders' own copy of the catalog: each product as its last event says."""
    orders.copy_prices(list(newest(events).values()))


def hear_reservations(orders: Orders, events: Sequence[ReservationEvent], clock: Clock) -> None:
    """Stock is reserved, or not, or free again. Raises NotYet when there is no such order."""
    orders.clear(PAY_BY, [event.key for event in events if event.type == "ReservationRefused"])
    hear(orders, events, _of_reservation, clock)


def hear_payments(orders: Orders, events: Sequence[PaymentEvent], clock: Clock) -> None:
    """Money is held, or moved, or refused. Raises NotYet when there is no such order."""
    decided = [event.key for event in events if event.type == "PaymentAuthorized" or event.type == "PaymentDeclined"]
    orders.clear(PAY_BY, decided)
    hear(orders, events, _of_payment, clock)


def hear_fulfilments(orders: Orders, events: Sequence[FulfilmentEvent], clock: Clock, hold: timedelta) -> None:
    """Parcels were stopped, have arrived, are lost, or stay because they are not paid for: then not for longer than `hold`."""
    held = {event.key: Due(event.key, HOLD_BY, event.occurred_at + hold) for event in events if event.type == "ShipmentHeld"}
    orders.set(list(held.values()))
    hear(orders, events, _of_fulfilment, clock)


def hear_returns(orders: Orders, events: Sequence[ReturnsEvent], clock: Clock) -> None:
    """Units came back and are worth something. Raises NotYet when there is no such order."""
    hear(orders, events, _of_returns, clock)


def hear(orders: Orders, events: Sequence[Event[Any, Any]], fact: Hear, clock: Clock) -> None:
    """Keeps what each order has to know of the events, and does what follows from that."""
    last = newest(events)
    found = orders.orders.lock(last)
    check_there(last, found)
    context = clock.context()
    changes = [_decided(kept, fact(kept.notes, last[order_id]), last[order_id], context) for order_id, kept in found.items()]
    orders.orders.save([change for change in changes if change])


def hear_exchanges(orders: Orders, events: Sequence[ExchangeEvent], clock: Clock) -> None:
    """It is decided what a return pays for: nothing, when the exchange has failed; then the new order is undone."""
    both = {order_id: event for event in events for order_id in (event.data["order_id"], event.data["new_order_id"])}
    orders.clear(PAY_BY, [event.data["new_order_id"] for event in events if event.type == "ExchangeFailed"])
    found = orders.orders.lock(both)
    check_there(both, found)
    context = clock.context()
    changes: list[Changed[rules.State]] = []
    for order_id, kept in found.items():
        event = both[order_id]
        credited = _credited(kept.notes, order_id, event)
        first = rules.undo(_order(kept), event.data["reason"], context) if _is_undone(order_id, event) else None
        change = _decided(kept, credited, event, context, first)
        if change:
            changes.append(change)
    orders.orders.save(changes)


def hear_orders_in_exchange(orders: Orders, events: Sequence[OrderEvent], clock: Clock) -> None:
    """What becomes of orders that are placed for an exchange; and what they do not need goes back to the order before."""
    last = newest(event for event in events if event.data["exchange_id"])
    if not last:
        return
    ids = {cast("str", event.data["exchange_id"]): event for event in last.values()}
    found = orders.exchanges.lock(ids)
    check_there(ids, found)
    advance(orders, found, lambda kept: heard(kept.notes, "order", ids[kept.id], new_order=_new_order(ids[kept.id])), clock)
    used = {
        kept.state["order_id"]: (kept.id, ids[kept.id].data["credit_got_minor"])
        for kept in found.values()
        if kept.state and ids[kept.id].type == "OrderCreditReturned"
    }
    if used:
        _take_back(orders, used, clock)


def hear_returns_in_exchange(orders: Orders, events: Sequence[ReturnsEvent], clock: Clock) -> None:
    """What becomes of returns that an exchange waits for."""
    last: dict[str, tuple[ReturnsEvent, Any]] = {}
    for event in newest(events).values():
        last |= {exchange_id: (event, came) for exchange_id, came in facts.came_back(event.data).items()}
    if not last:
        return
    found = orders.exchanges.lock(last)
    check_there(last, found)
    advance(orders, found, lambda kept: heard(kept.notes, "returns", last[kept.id][0], returned=last[kept.id][1]), clock)


def advance(orders: Orders, found: Mapping[str, Kept[exchanges.State]], notes: Callable[[Kept[Any]], Notes], clock: Clock) -> None:
    """Does what follows for exchanges from what they know now."""
    context = clock.context()
    changes: list[Changed[exchanges.State]] = []
    for kept in found.values():
        known = notes(kept)
        if known is not kept.notes and kept.state:
            events = exchanges.run(Exchange(kept.version, kept.state), cast("exchanges.Facts", known), context)
            changes.append(Changed(kept, events, known))
    orders.exchanges.save(changes)


def check_there(wanted: Iterable[str], found: Collection[str]) -> None:
    """Raises NotYet unless all are there."""
    missing = sorted({*wanted} - {*found})
    if missing:
        raise NotYet(f"there is no {', '.join(missing)}")


def _decided(
    kept: Kept[rules.State], notes: Notes, cause: Event[Any, Any], context: Context, first: OrderEvent | None = None
) -> Changed[rules.State] | None:
    """What becomes of an order by what it knows now; `first` has happened already. None when there is nothing new."""
    if notes is kept.notes and first is None:
        return None
    context = context._replace(traceparent=cause.traceparent)
    before = rules.evolve(first) if first else _order(kept)
    events = [*([first] if first else []), *rules.run(before, cast("Facts", notes), context)]
    return Changed(kept, events, notes)


def _order(kept: Kept[rules.State]) -> Order:
    assert kept.state is not None
    return Order(kept.version, kept.state)


def _of_reservation(notes: Notes, event: Event[Any, Any]) -> Notes:
    return heard(notes, "reservation", event, reservation=facts.of_reservation(event.data))


def _of_payment(notes: Notes, event: Event[Any, Any]) -> Notes:
    return heard(notes, "payment", event, payment=facts.of_payment(event.data))


def _of_fulfilment(notes: Notes, event: Event[Any, Any]) -> Notes:
    if "fulfilment" not in notes and facts.of_fulfilment(event.data) == facts.NOTHING_SENT:
        return notes
    return heard(notes, "fulfilment", event, fulfilment=facts.of_fulfilment(event.data))


def _of_returns(notes: Notes, event: Event[Any, Any]) -> Notes:
    return heard(notes, "returns", event, returns=facts.of_returns(event.data))


def _credited(notes: Notes, order_id: str, event: ExchangeEvent) -> Notes:
    """What was decided is decided once: a failure after that changes nothing here."""
    exchange_id, data = event.key, event.data
    if order_id == data["order_id"]:
        given = notes.get("given", {})
        return notes if exchange_id in given else {**notes, "given": {**given, exchange_id: data["credit_minor"]}}
    if event.type == "CreditDecided" and "got" not in notes:
        return {**notes, "got": data["credit_minor"]}
    return notes


def _is_undone(order_id: str, event: ExchangeEvent) -> bool:
    return event.type == "ExchangeFailed" and order_id == event.data["new_order_id"]


def _new_order(event: OrderEvent) -> exchanges.NewOrder:
    return facts.of_new_order(cast("rules.State", event.data))


def _take_back(orders: Orders, used: Mapping[str, tuple[str, int]], clock: Clock) -> None:
    found = orders.orders.lock(used)
    context = clock.context()
    changes: list[Changed[rules.State]] = []
    for order_id, kept in found.items():
        exchange_id, used_minor = used[order_id]
        notes = {**kept.notes, "used": {**kept.notes.get("used", {}), exchange_id: used_minor}}
        if notes != kept.notes:
            changes.append(Changed(kept, rules.run(_order(kept), cast("Facts", notes), context), notes))
    orders.orders.save(changes)


def _copied(products: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """The copy has every product as it is."""
    for each in products:
        yield each["sku"], {name: each[name] for name in ("sku", "version", *Price._fields, "archived")}


def _expect(
    name: str, of: Callable[[Any], Any], nothing: Any = None
) -> Callable[[Iterable[Row]], Iterator[tuple[str, Row]]]:
    """Every order knows what somebody else's aggregate says, unless that is `nothing`."""

    def expected(states: Iterable[Row]) -> Iterator[tuple[str, Row]]:
        for each in states:
            if (fact := of(each)) != nothing:
                yield each["order_id"], {name: fact}

    return expected


def _credits(found: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Whatever is decided is known to the order that gives it."""
    for each in found:
        if each["step"] in ("crediting", "finished", "failed"):
            yield each["exchange_id"], {"is_known": True}


def _ended(orders: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """An exchange does not wait for an order that is undone."""
    for each in orders:
        if each["exchange_id"] and each["status"] in ("rejected", "undoing", "cancelled"):
            yield each["exchange_id"], {"step": "failed"}


def _answered(found: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """An exchange knows that its return is over."""
    for each in found:
        for exchange_id, came in facts.came_back(each).items():  # type: ignore[arg-type]  # a state in JSON
            if came["status"] not in ("requested", "approved", "received"):
                yield exchange_id, {"is_over": True}


def reactions(outbox: Outbox[OrderEvent | ExchangeEvent], clock: Clock, hold: timedelta) -> tuple[Reaction, ...]:
    """All of them; they publish to the outbox, and what they decide is decided when the clock says.

    A parcel that is not paid for is held for as long as `hold`.
    """

    def on(hear: Callable[..., None], *more: Any) -> Callable[[Cursor, Sequence[Any]], None]:
        return lambda cursor, events: hear(Orders(cursor, outbox), events, *more)

    def reaction(name: str, topic: Any, types: Collection[str], handle: Any, expected: Any, effects: str) -> Reaction:
        return Reaction(f"orders.{name}", "orders", topic, frozenset(types), handle, expected, effects)

    products = ("ProductCreated", "ProductUpdated", "ProductArchived")
    sent = ("FulfilmentAnswered", "ShipmentHeld", "ShipmentReady", "ShipmentDelivered", "ShipmentLost")
    ended = ("ReturnAccepted", "ReturnRejected", "ReturnCancelled", "ReturnExpired")
    placed = ("OrderReserved", "OrderRejected", "OrderLinesCancelled", "OrderConfirmed", "OrderCreditReturned")
    decided = ("CreditDecided", "ExchangeFailed")
    hear_sent = on(hear_fulfilments, clock, hold)
    return (
        reaction("prices", product.TOPIC, products, on(copy_prices), _copied, store.COPIED),
        reaction(
            "reservations",
            reservation.TOPIC,
            get_args(ReservationEventType),
            on(hear_reservations, clock),
            _expect("reservation", facts.of_reservation),
            store.known("reservation"),
        ),
        reaction(
            "payments",
            payment.TOPIC,
            get_args(PaymentEventType),
            on(hear_payments, clock),
            _expect("payment", facts.of_payment),
            store.known("payment"),
        ),
        reaction(
            "fulfilments",
            fulfilment.TOPIC,
            sent,
            hear_sent,
            _expect("fulfilment", facts.of_fulfilment, facts.NOTHING_SENT),
            store.known("fulfilment", facts.NOTHING_SENT),
        ),
        reaction(
            "returns",
            returns.TOPIC,
            ("ReturnAccepted",),
            on(hear_returns, clock),
            _expect("returns", facts.of_returns, []),
            store.known("returns"),
        ),
        reaction("exchanges", exchange.TOPIC, decided, on(hear_exchanges, clock), _credits, store.CREDITS_KNOWN),
        reaction("new_orders", order.TOPIC, placed, on(hear_orders_in_exchange, clock), _ended, store.FAILED_EXCHANGES),
        reaction("returned", returns.TOPIC, ended, on(hear_returns_in_exchange, clock), _answered, store.RETURNS_KNOWN),
    )
