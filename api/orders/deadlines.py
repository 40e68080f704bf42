"""What falls due for orders, and for exchanges."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, cast

from psycopg2.extensions import cursor as Cursor

from api.orders import exchanges, rules
from api.orders.exchanges import Exchange
from api.orders.rules import Facts, Order
from api.orders.store import EXCHANGE_BY, HOLD_BY, PAY_BY, Orders
from kernel.aggregates import Changed, Kept
from kernel.context import Context
from kernel.deadlines import Deadline, Due
from kernel.outbox import Outbox
from schemas.exchange import ExchangeEvent
from schemas.order import OrderEvent

#: For how long a request to stop parcels waits while another one is at work.
_LATER = timedelta(minutes=1)


def expire_orders(orders: Orders, order_ids: Sequence[str], context: Context) -> None:
    """Undoes those of the orders that are neither reserved nor paid for."""
    _change(orders, order_ids, lambda order, _: rules.expire(order, context), context)


def give_up_held(orders: Orders, order_ids: Sequence[str], context: Context) -> None:
    """Stops parcels that nobody has paid for. While units of the order are being stopped already, a little later."""
    held = _change(orders, order_ids, lambda order, facts: rules.give_up_held(order, facts, context), context)
    busy = [order_id for order_id, kept in held.items() if kept.state and kept.state["status"] in ("stopping", "undoing")]
    orders.set([Due(order_id, HOLD_BY, context.now + _LATER) for order_id in busy])


def expire_exchanges(orders: Orders, exchange_ids: Sequence[str], context: Context) -> None:
    """Ends those of the exchanges whose return has not come."""
    changes: list[Changed[exchanges.State]] = []
    for kept in orders.exchanges.lock(exchange_ids).values():
        assert kept.state is not None
        if event := exchanges.give_up(Exchange(kept.version, kept.state), context):
            changes.append(Changed(kept, [event], kept.notes))
    orders.exchanges.save(changes)


def _change(
    orders: Orders, order_ids: Sequence[str], decide: Callable[[Order, Facts], OrderEvent | None], context: Context
) -> dict[str, Kept[rules.State]]:
    """What is decided of each of the orders, and what follows from it; all of them as they were."""
    found = orders.orders.lock(order_ids)
    changes: list[Changed[rules.State]] = []
    for kept in found.values():
        assert kept.state is not None
        facts = cast("Facts", kept.notes)
        if event := decide(Order(kept.version, kept.state), facts):
            more = rules.run(rules.evolve(event), facts, context)
            changes.append(Changed(kept, [event, *more], kept.notes))
    orders.orders.save(changes)
    return found


def deadlines(outbox: Outbox[OrderEvent | ExchangeEvent]) -> tuple[Deadline, ...]:
    """All of them; they publish to the outbox."""

    def deadline(name: str, expire: Callable[[Orders, Sequence[str], Context], None]) -> Deadline:
        def handle(cursor: Cursor, ids: Sequence[str], context: Context) -> Any:
            return expire(Orders(cursor, outbox), ids, context)

        return Deadline(name, handle)

    return (deadline(PAY_BY, expire_orders), deadline(HOLD_BY, give_up_held), deadline(EXCHANGE_BY, expire_exchanges))
