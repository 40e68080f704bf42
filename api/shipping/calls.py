"""Asking the carrier: for a label, and to take a parcel."""

from collections.abc import Callable, Sequence

from psycopg2.extensions import cursor as Cursor

from api.shipping import rules
from api.shipping.carrier import Booked, Carrier
from api.shipping.reactions import fulfilment_of, save
from api.shipping.store import HAND_OVER, LABEL, Shipping
from kernel.aggregates import Kept, Notes
from kernel.context import Context
from kernel.outbox import Outbox
from kernel.tasks import Answered, Call, Task, Unanswered
from schemas.fulfilment import FulfilmentEvent
from schemas.returns import ReturnsEvent


def book(carrier: Carrier, task: Task) -> Booked:
    """Has a label made for a parcel."""
    return carrier.book(task.id, f"{task.arguments['order_id']}.{task.arguments['shipment']}")


def hand_over(carrier: Carrier, task: Task) -> None:
    """Tells the carrier that it has a parcel."""
    carrier.hand_over(task.id, task.arguments["tracking"])


def record_labels(shipping: Shipping, answered: Sequence[Answered], context: Context) -> None:
    """Parcels have their labels, unless they are not there any more."""
    by_order: dict[str, list[Answered]] = {}
    for each in answered:
        by_order.setdefault(each.task.arguments["order_id"], []).append(each)
    changed: list[tuple[Kept[rules.State], list[FulfilmentEvent], Notes]] = []
    for order_id, kept in shipping.fulfilments.lock(sorted(by_order)).items():
        now, events = fulfilment_of(kept), []
        for task, booked in by_order[order_id]:
            caused = context._replace(traceparent=task.traceparent)
            event = rules.label(now, task.arguments["shipment"], booked.tracking, booked.days, caused)
            if event:
                shipping.keep_label(booked.tracking, order_id, task.arguments["shipment"])
                events.append(event)
                now = rules.evolve(now, event)
        if events:
            changed.append((kept, events, kept.notes))
    save(shipping, changed, context)


def calls(
    outbox: Outbox[FulfilmentEvent | ReturnsEvent], open_carrier: Callable[[Callable[[str], str]], Carrier]
) -> tuple[Call, ...]:
    """All of them; they publish to the outbox. One that is given up is a trouble in `status`, and its parcel waits."""
    settings, secrets = ("CARRIER_URL",), ("CARRIER_KEY",)

    def opened(make: Callable[[Carrier, Task], object]) -> Callable[[Callable[[str], str]], Callable[[Task], object]]:
        def open_(setting: Callable[[str], str]) -> Callable[[Task], object]:
            carrier = open_carrier(setting)
            return lambda task: make(carrier, task)

        return open_

    def labelled(cursor: Cursor, answered: Sequence[Answered], context: Context) -> None:
        record_labels(Shipping(cursor, outbox), answered, context)

    def nothing(cursor: Cursor, what: Sequence[Answered] | Sequence[Unanswered], context: Context) -> None:
        """The parcel's state says nothing of it."""

    return (
        Call(LABEL, opened(book), labelled, nothing, settings, secrets),
        Call(HAND_OVER, opened(hand_over), nothing, nothing, settings, secrets),
    )
