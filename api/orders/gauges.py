"""What is to be watched of orders. An order waits for its answer for as long as it has the deadline for it."""

from api.manifest import gauge
from api.orders.store import OLDEST_UNSETTLED, UNSETTLED

GAUGES = (
    gauge("marea_orders_unsettled", "Orders that are neither confirmed nor rejected nor cancelled.", UNSETTLED),
    gauge("marea_orders_unsettled_oldest_seconds", "Age of the oldest of them; 0 of none.", OLDEST_UNSETTLED),
)
