"""What falls due for orders."""

from collections.abc import Sequence

from psycopg2.extensions import cursor as Cursor

from api.orders import rules
from api.orders.store import PAY_BY, Orders
from kernel.context import Context
from kernel.deadlines import Deadline
from kernel.outbox import Outbox
from schemas.order import OrderEvent


def expire_orders(orders: Orders, order_ids: Sequence[str], context: Context) -> None:
    """Cancels those of the orders that are still without an answer."""
    found = orders.lock(order_ids)
    events = [(order, rules.expire(order, context)) for order in found.values()]
    orders.change_many([(order, event) for order, event in events if event])


def deadlines(outbox: Outbox[OrderEvent]) -> tuple[Deadline, ...]:
    """All of them; they publish to the outbox."""

    def expire(cursor: Cursor, order_ids: Sequence[str], context: Context) -> None:
        expire_orders(Orders(cursor, outbox), order_ids, context)

    return (Deadline(PAY_BY, expire),)
