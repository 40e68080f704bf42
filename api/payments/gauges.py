"""What is to be watched of payments."""

from api.manifest import gauge
from api.payments.store import CASES, OLDEST_UNKNOWN, UNKNOWN

GAUGES = (
    gauge("marea_payments_unknown", "Payments of which nobody knows whether an operation was done.", UNKNOWN),
    gauge("marea_payments_unknown_oldest_seconds", "For how long that has been so of the first of them; 0 of none.", OLDEST_UNKNOWN),
    gauge("marea_payments_cases", "What of payments needs a person.", CASES),
)
