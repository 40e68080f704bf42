"""What falls due for parcels and returns."""

from collections.abc import Callable, Sequence

from psycopg2.extensions import cursor as Cursor

from api.shipping import returns, rules
from api.shipping.reactions import fulfilment_of, returns_of, save, save_returns
from api.shipping.store import ARRIVE_BY, RETURN_BY, Shipping
from kernel.aggregates import Kept, Notes
from kernel.context import Context
from kernel.deadlines import Deadline, Due
from kernel.outbox import Outbox
from schemas.fulfilment import FulfilmentEvent
from schemas.returns import ReturnsEvent


def find_overdue(shipping: Shipping, order_ids: Sequence[str], context: Context) -> None:
    """Parcels that should have arrived are cases; the next of their order is watched."""
    changed: list[tuple[Kept[rules.State], list[FulfilmentEvent], Notes]] = []
    for kept in shipping.fulfilments.lock(order_ids).values():
        now, events = fulfilment_of(kept), []
        while event := rules.find_overdue(now, context):
            events.append(event)
            now = rules.evolve(now, event)
        if events:
            changed.append((kept, events, kept.notes))
        elif now.state and (expected := rules.expected_next(now.state)):
            shipping.set([Due(kept.id, ARRIVE_BY, expected)])
    save(shipping, changed, context)


def expire_returns(shipping: Shipping, order_ids: Sequence[str], context: Context) -> None:
    """Returns that have waited for too long are over; the next of their order is watched."""
    changed: list[tuple[Kept[returns.State], list[ReturnsEvent], Notes]] = []
    for kept in shipping.returns.lock(order_ids).values():
        now, events = returns_of(kept), []
        while event := returns.find_expired(now, context):
            events.append(event)
            now = returns.evolve(now, event)
        if events:
            changed.append((kept, events, kept.notes))
        elif now.state and (expires := returns.expires_next(now.state)):
            shipping.set([Due(kept.id, RETURN_BY, expires)])
    save_returns(shipping, changed)


def deadlines(outbox: Outbox[FulfilmentEvent | ReturnsEvent]) -> tuple[Deadline, ...]:
    """All of them; they publish to the outbox."""

    def deadline(name: str, handle: Callable[[Shipping, Sequence[str], Context], None]) -> Deadline:
        def carry_out(cursor: Cursor, ids: Sequence[str], context: Context) -> None:
            handle(Shipping(cursor, outbox), ids, context)

        return Deadline(name, carry_out)

    return (deadline(ARRIVE_BY, find_overdue), deadline(RETURN_BY, expire_returns))
