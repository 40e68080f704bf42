"""The history of payments: one row a change. No row is ever replaced by another one."""

from collections.abc import Iterable, Iterator, Mapping

from schemas import payment
from schemas.payment import Operation, OperationKind, PaymentEvent, PaymentEventType
from streams.engine.consumer import Row

TOPIC = payment.TOPIC

# Compared is what the changes of a payment come to; a missing or doubled one changes their number.
STATE_QUERY = """
SELECT
    order_id,
    count() AS changes,
    argMax(status, version) AS status,
    argMax(currency, version) AS currency,
    argMax(captured_minor, version) AS captured_minor,
    argMax(refunded_minor, version) AS refunded_minor
FROM {table:Identifier} FINAL GROUP BY order_id
"""

_STATE = ("order_id", "status", "currency", "captured_minor", "refunded_minor")
#: What was done by the last operation of its kind, for one is asked for after the other; and what was refused.
_DONE: Mapping[PaymentEventType, OperationKind] = {
    "PaymentAuthorized": "authorize",
    "PaymentCaptured": "capture",
    "PaymentVoided": "void",
    "PaymentRefunded": "refund",
}
_REFUSED: Mapping[PaymentEventType, OperationKind] = {
    "PaymentDeclined": "authorize",
    "AuthorizationExpired": "authorize",
    "CaptureFailed": "capture",
    "VoidFailed": "void",
    "RefundFailed": "refund",
}


def rows(event: PaymentEvent) -> list[Row]:
    data = event.data
    done = _last(data["operations"], _DONE.get(event.type), "succeeded")
    refused = _last(data["operations"], _REFUSED.get(event.type), "failed")
    return [
        {
            **{name: data[name] for name in _STATE},  # type: ignore[literal-required]
            "version": event.version,
            "what": event.type,
            "amount_minor": done["amount_minor"] if done else 0,
            "code": (refused["code"] if refused else None) or "",
            "occurred_at": event.occurred_at,
        }
    ]


def expected(states: Iterable[Row]) -> Iterator[Row]:
    for state in states:
        yield {**{name: state[name] for name in _STATE}, "changes": state["version"]}


def _last(operations: Iterable[Operation], kind: OperationKind | None, state: str) -> Operation | None:
    found = [each for each in operations if each["kind"] == kind and each["state"] == state]
    return found[-1] if found else None
