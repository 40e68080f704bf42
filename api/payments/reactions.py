"""What payments do when what is due changes, and when parcels are packed or gone."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from psycopg2.extensions import cursor as Cursor

from api.payments import facts, rules, store
from api.payments.rules import Facts, Payment
from api.payments.store import OPERATION, Payments
from kernel.aggregates import Changed, Kept, Notes, heard, newest
from kernel.clock import Clock
from kernel.context import Context
from kernel.outbox import Outbox
from kernel.tasks import Task
from schemas import fulfilment, order
from schemas.event import Event
from schemas.fulfilment import FulfilmentEvent
from schemas.order import OrderEvent
from schemas.payment import Operation, PaymentEvent
from streams.engine.consumer import Reaction, Row


class Advanced(NamedTuple):
    """A locked payment, what it is now, by which events, and what these were decided for."""

    before: Kept[rules.State]
    after: Payment
    events: Sequence[PaymentEvent]
    context: Context


def hear_orders(payments: Payments, events: Sequence[OrderEvent], clock: Clock) -> None:
    """What is due has changed."""
    _hear(payments, events, _of_order, clock)


def hear_fulfilments(payments: Payments, events: Sequence[FulfilmentEvent], clock: Clock) -> None:
    """Parcels are packed, and to be paid for; or all have left the house."""
    _hear(payments, events, _of_fulfilment, clock)


def _hear(payments: Payments, events: Sequence[Any], hear: Callable[[Notes, Any], Notes], clock: Clock) -> None:
    last = newest(events)
    found = payments.payments.lock_or_add(sorted(last))
    context = clock.context()
    changed: list[Advanced] = []
    for order_id, kept in found.items():
        notes = hear(kept.notes, last[order_id])
        if notes is not kept.notes:
            now, caused = payment_of(kept)._replace(facts=cast("Facts", notes)), context._replace(traceparent=last[order_id].traceparent)
            changed.append(Advanced(kept, *rules.advance(now, caused), caused))
    save(payments, changed)


def payment_of(kept: Kept[rules.State]) -> Payment:
    """A payment as the rules know it."""
    return Payment(kept.id, kept.version, kept.state, cast("Facts", kept.notes))


def save(payments: Payments, changed: Sequence[Advanced], answer: Any = None) -> None:
    """Writes what has become of locked payments, and asks the provider for what they want of it now."""
    payments.payments.save([Changed(each.before, each.events, cast("Notes", each.after.facts)) for each in changed], answer)
    if wanted := [task for each in changed for task in _wanted(each)]:
        payments.ask(wanted, changed[0].context.now)


def _wanted(advanced: Advanced) -> Iterator[Task]:
    after, asked, before = advanced.after, advanced.after.facts.get("asked"), advanced.before.notes.get("asked")
    if asked and (before is None or before["number"] != asked["number"]):
        key = operation_id(after.order_id, asked)
        yield Task(key, OPERATION, _arguments(after, asked), traceparent=advanced.context.traceparent)


def operation_id(order_id: str, operation: Operation) -> str:
    """The idempotency key of an operation, and its task's id."""
    return f"{order_id}.{operation['number']}"


def _arguments(payment: Payment, asked: Operation) -> dict[str, Any]:
    order = payment.facts["order"]
    card_token = payment.state["card_token"] if payment.state else order["card_token"]
    return {
        "order_id": payment.order_id,
        "kind": asked["kind"],
        "amount_minor": asked["amount_minor"],
        "currency": order["currency"],
        "card_token": card_token,
        "reference": asked["reference"],
        "authorization": f"{payment.order_id}.{asked['authorization']}" if asked["authorization"] else None,
    }


def _of_order(notes: Notes, event: Event[Any, Any]) -> Notes:
    return heard(notes, "order", event, order=facts.of_order(event.data, event.version))


def _of_fulfilment(notes: Notes, event: Event[Any, Any]) -> Notes:
    return heard(notes, "fulfilment", event, fulfilment=facts.of_fulfilment(event.data))


def _due(orders: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Every order's payment knows the version that changed what is due last. A rejected order has none."""
    for each in orders:
        if each["status"] not in ("placed", "rejected"):
            yield each["order_id"], {"is_due": True}


def _packed(fulfilments: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """What is packed is known, and whether all has gone."""
    for each in fulfilments:
        fact = facts.of_fulfilment(cast("Any", each))
        if fact["packed"] or fact["all_gone"]:
            yield each["order_id"], {"fulfilment": fact}


def reactions(outbox: Outbox[PaymentEvent], clock: Clock) -> tuple[Reaction, ...]:
    """All of them; they publish to the outbox, and what they decide is decided when the clock says.

    They begin now: nothing is charged for what happened before there were payments.
    """

    def reaction(name: str, topic: Any, types: set[str], hear: Callable[..., None], expected: Any, effects: str) -> Reaction:
        def handle(cursor: Cursor, events: Sequence[Any]) -> None:
            hear(Payments(cursor, outbox), events, clock)

        return Reaction(f"payments.{name}", "payments", topic, frozenset(types), handle, expected, effects, start="now")

    due = {
        *("OrderReserved", "OrderLinesCancelled", "OrderCancelDeclined"),
        *("OrderLinesLost", "OrderDueChanged", "OrderCreditReturned"),
    }
    packed = {"ShipmentPacked", "ShipmentHeld", "ShipmentDispatched", "FulfilmentAnswered"}
    return (
        reaction("due", order.TOPIC, due, hear_orders, _due, store.DUE),
        reaction("shipments", fulfilment.TOPIC, packed, hear_fulfilments, _packed, store.PACKED),
    )

