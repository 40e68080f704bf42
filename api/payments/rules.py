"""What becomes of a payment: money follows what is due.

`next_operation` says what to ask of the provider, one operation at a time; `record` what its answer means. The transitions are
those of the table "Payment" in docs/sagas.md.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

from kernel.context import Context
from kernel.refusals import Conflict, Unknown
from schemas.event import Event
from schemas.order import OrderStatus
from schemas.payment import (
    Case,
    Operation,
    OperationKind,
    PaymentEvent,
    PaymentEventType,
    PaymentSettledData,
    PaymentStatus,
)

#: What a payment is: what each of its events says.
State = PaymentSettledData

#: Refunds or voids that fail one after the other; then a person has to see to it.
MOST_FAILURES = 5
#: Operations of a payment: from then on it takes no other card. Its events carry all of them.
MOST_OPERATIONS = 500

_DONE: Mapping[OperationKind, PaymentEventType] = {
    "authorize": "PaymentAuthorized",
    "capture": "PaymentCaptured",
    "void": "PaymentVoided",
    "refund": "PaymentRefunded",
}
_REFUSED: Mapping[OperationKind, PaymentEventType] = {
    "authorize": "PaymentDeclined",
    "capture": "CaptureFailed",
    "void": "VoidFailed",
    "refund": "RefundFailed",
}
#: The case of an operation that the provider does not answer, however often it is asked.
UNANSWERED = "unanswered"
#: Codes of the provider by which an authorization is no more.
GONE = frozenset({"expired", "gone"})
#: Codes by which a refund that was done is not any more.
UNDONE = frozenset({"refund_failed"})


class Wanted(TypedDict):
    """What orders have said last. `may_authorize` is whether money may be asked for.

    `cancel_number` is the last request to stop units.
    """

    order_id: str
    customer_id: str
    currency: str
    status: OrderStatus
    order_version: int
    due_minor: int
    card_token: str | None
    may_authorize: bool
    cancel_number: int


class Sent(TypedDict):
    """What shipping has said last: what each packed parcel costs, and whether all that will go has gone.

    `answered` is the last request to stop units that it has answered.
    """

    packed: dict[str, int]
    all_gone: bool
    answered: int


class Facts(TypedDict, total=False):
    """The newest that others have said, and the operation that the provider is asked for now."""

    order: Wanted
    fulfilment: Sent
    asked: Operation | None
    given_up: bool


class Payment(NamedTuple):
    """A payment as it is now. Version 0: nothing has happened yet."""

    order_id: str
    version: int
    state: State | None
    facts: Facts


class Result(NamedTuple):
    """What the provider says of an operation: done for an amount, or a definite no with its code."""

    number: int
    is_done: bool
    amount_minor: int
    reference: str | None
    code: str | None


class Authorization(NamedTuple):
    """An authorization of the ledger, and what can still be captured on it."""

    number: int
    reference: str | None
    left_minor: int


class Step(NamedTuple):
    """What happens next: an event, or an operation to ask the provider for."""

    event: PaymentEvent | None = None
    asked: Operation | None = None


def advance(payment: Payment, context: Context) -> tuple[Payment, list[PaymentEvent]]:
    """All that follows from the facts: events in order, and the payment after them, which may ask for an operation."""
    events: list[PaymentEvent] = []
    while step := decide(payment, context):
        if step.event:
            events.append(step.event)
            payment = evolve(payment, step.event)
        else:
            payment = payment._replace(facts={**payment.facts, "asked": step.asked, "given_up": False})
    return payment, events


def evolve(payment: Payment, event: PaymentEvent) -> Payment:
    """The payment after an event of its own."""
    return payment._replace(version=event.version, state=event.data, facts=facts_after(payment, event))


def decide(payment: Payment, context: Context) -> Step | None:
    """What the facts mean now; None when nothing is to be done, or when an operation is under way."""
    if "order" not in payment.facts or payment.facts.get("asked"):
        return None
    state = _heard(payment)
    operation = next_operation(state, payment.facts)
    if operation and operation["amount_minor"] == 0:
        return Step(_apply(payment, state, operation | {"state": "succeeded"}, _DONE[operation["kind"]], None, context))
    if operation:
        return Step(asked=operation)
    settled_version = state["settled_version"] if is_doubtful(state) else state["order_version"]
    settled: State = {**state, "settled_version": settled_version, "cases": _cases(state, payment.facts, context)}
    if payment.state is None or _differs(payment.state, settled):
        return Step(_event(payment, settled, "PaymentSettled", None, context))
    return None


def next_operation(state: State, facts: Facts) -> Operation | None:
    """What to ask the provider for, so that what is captured and not refunded comes to what is due.

    None while a capture or a refund is disputed: nobody knows what is paid.
    """
    if is_doubtful(state):
        return None
    missing_minor = state["due_minor"] - paid(state)
    if missing_minor < 0:
        return _refund(state, -missing_minor)
    for shipment, amount_minor in _uncaptured(state, facts):
        return _capture(state, facts, shipment, min(amount_minor, missing_minor))
    return _hold(state, facts, missing_minor) if missing_minor else _let_go(state, facts["order"])


def record(payment: Payment, result: Result, context: Context) -> PaymentEvent | None:
    """What an answer means; None when it says what is known."""
    asked, state = payment.facts.get("asked"), _heard(payment)
    if asked and asked["number"] == result.number:
        return _answered(payment, state, asked, result, context)
    known = next((each for each in state["operations"] if each["number"] == result.number), None)
    if known is None:
        raise Unknown(f"Payment {payment.order_id} has no operation {result.number}.")
    if known["state"] == "disputed" or (known["state"] == "succeeded") == result.is_done:
        return None
    if known["state"] == "succeeded" and known["kind"] == "refund":
        return _apply(payment, state, known | {"state": "failed", "code": result.code}, "RefundFailed", result.code, context)
    if known["state"] == "succeeded" and known["kind"] == "authorize" and result.code in GONE:
        return _gone(payment, state, known, result.code, context)
    if known["state"] == "failed" and known["code"] in (GONE | UNDONE):
        return None  # it was done once, and is not any more: the older news comes later
    disputed: Operation = {**known, "state": "disputed", "reference": known["reference"] or result.reference}
    return _apply(payment, state, disputed, "PaymentDisputed", "the provider contradicts itself", context)


def unanswered(payment: Payment, number: int, error: str, *, is_given_up: bool, context: Context) -> PaymentEvent | None:
    """Nobody knows whether an operation was done; None when that is known, or it has been said. Given up is a case."""
    asked = payment.facts.get("asked")
    if asked is None or asked["number"] != number:
        return None
    if asked["state"] == "unknown" and not is_given_up:
        return None
    unknown: Operation = {**asked, "state": "unknown"}
    facts: Facts = {**payment.facts, "given_up": is_given_up}
    return _apply(payment._replace(facts=facts), _heard(payment), unknown, "PaymentUnknown", error, context)


def change_card(order_id: str, payment: Payment | None, card_token: str, context: Context) -> PaymentEvent:
    """The customer gives another card for what is still due."""
    if payment is None or payment.state is None:
        raise Unknown(f"There is no payment of order {order_id} yet.")
    state = _heard(payment)
    if state["due_minor"] <= paid(state) or not payment.facts["order"]["may_authorize"]:
        raise Conflict(f"Nothing is to be paid for order {order_id}.")
    if len(state["operations"]) >= MOST_OPERATIONS:
        raise Conflict(f"For order {order_id} too much was tried already: cancel it.")
    changed: State = {**state, "card_token": card_token, "is_declined": False}
    return _event(payment, changed, "PaymentCardChanged", None, context)


def rule(
    order_id: str,
    payment: Payment | None,
    number: int,
    outcome: Literal["succeeded", "failed"],
    reason: str,
    context: Context,
) -> PaymentEvent:
    """Somebody has found out what became of an operation that is disputed, unknown for good, or failed too often.

    What was given back too much by that is written off.
    """
    if payment is None or payment.state is None:
        raise Unknown(f"There is no payment of order {order_id}.")
    state = _heard(payment)
    if number not in {each["number"] for each in payment.state["cases"]}:
        raise Conflict(f"Operation {number} of order {order_id} needs nobody.")
    operations = _operations(state, payment.facts)
    [known] = [each for each in operations if each["number"] == number]
    if outcome == "succeeded" and known["reference"] is None:
        raise Conflict(f"Of operation {number} the provider's reference is not known: have it asked again, or let it be failed.")
    ruled: State = {**state, "operations": _with(operations, known | {"state": outcome, "code": "ruled"})}
    too_much = -paid(ruled)
    if too_much > 0:
        ruled["written_off_minor"] += too_much
    return _event(payment, ruled, "PaymentRuled", reason, context)


def facts_after(payment: Payment, event: PaymentEvent) -> Facts:
    """The facts once an event is known: an operation that has its answer is asked for no more."""
    facts = _answered_facts(payment.facts, event.data["operations"])
    if event.type == "PaymentUnknown" and (asked := facts.get("asked")):
        is_given_up = any(each["kind"] == UNANSWERED for each in event.data["cases"])
        return {**facts, "asked": {**asked, "state": "unknown"}, "given_up": is_given_up}
    return facts


def is_doubtful(state: State) -> bool:
    """Whether the provider contradicts itself about money that has moved."""
    return any(each["state"] == "disputed" and each["kind"] in {"capture", "refund"} for each in state["operations"])


def paid(state: State) -> int:
    """What we have and keep, in minor units."""
    return _sum(state, "capture") - _sum(state, "refund") + state["written_off_minor"]


def authorizations(state: State) -> list[Authorization]:
    """Those on which something can still be captured, the oldest first."""
    voided = {each["authorization"] for each in state["operations"] if each["kind"] == "void" and each["state"] == "succeeded"}
    found = [
        Authorization(each["number"], each["reference"], each["amount_minor"] - _on(state, each["number"], "capture"))
        for each in state["operations"]
        if each["kind"] == "authorize" and each["state"] == "succeeded" and each["number"] not in voided
    ]
    return [each for each in found if each.left_minor > 0]


def _answered(payment: Payment, state: State, asked: Operation, result: Result, context: Context) -> PaymentEvent:
    if result.is_done:
        reference = result.reference or asked["reference"]
        done = asked | {"state": "succeeded", "amount_minor": result.amount_minor, "reference": reference, "code": None}
        if asked["kind"] == "authorize" and result.amount_minor < asked["amount_minor"]:
            declined: State = {**state, "is_declined": True}  # asking the card again would go on for ever
            return _apply(payment, declined, done, "PaymentDeclined", "the card has less than what is due", context)
        return _apply(payment, state, done, _DONE[asked["kind"]], None, context)
    refused = asked | {"state": "failed", "code": result.code}
    if asked["kind"] in ("capture", "void") and result.code in GONE:
        [authorized] = [each for each in state["operations"] if each["number"] == asked["authorization"]]
        return _gone(payment, {**state, "operations": _with(state["operations"], refused)}, authorized, result.code, context)
    is_declined = asked["kind"] in ("authorize", "capture")
    changed: State = {**state, "is_declined": state["is_declined"] or is_declined}
    return _apply(payment, changed, refused, _REFUSED[asked["kind"]], result.code, context)


def _gone(payment: Payment, state: State, authorized: Operation, code: str | None, context: Context) -> PaymentEvent:
    return _apply(payment, state, authorized | {"state": "failed", "code": code}, "AuthorizationExpired", code, context)


def _heard(payment: Payment) -> State:
    """The state with what orders have said since."""
    order = payment.facts["order"]
    state = payment.state or _blank(order)
    return {**state, "order_version": order["order_version"], "due_minor": order["due_minor"]}


def _blank(order: Wanted) -> State:
    return {
        "order_id": order["order_id"],
        "customer_id": order["customer_id"],
        "currency": order["currency"],
        "status": "open",
        "reason": None,
        "order_version": 0,
        "due_minor": 0,
        "settled_version": 0,
        "authorized_minor": 0,
        "captured_minor": 0,
        "refunded_minor": 0,
        "written_off_minor": 0,
        "card_token": order["card_token"],
        "is_declined": False,
        "operations": [],
        "cases": [],
    }


def _refund(state: State, amount_minor: int) -> Operation | None:
    """Of the newest authorization that has something to give back."""
    if _failures(state, "refund") >= MOST_FAILURES:
        return None
    for each in reversed(state["operations"]):
        if each["kind"] == "authorize":
            had_minor = _on(state, each["number"], "capture") - _on(state, each["number"], "refund")
            if had_minor > 0:
                return _operation(state, "refund", min(amount_minor, had_minor), each)
    return None


def _hold(state: State, facts: Facts, missing_minor: int) -> Operation | None:
    """What is missing is held until there are parcels for it; what is gone already is paid for."""
    if _is_all_gone(facts):
        return _capture(state, facts, None, missing_minor)
    found = authorizations(state)
    if found and found[-1].left_minor >= missing_minor:
        return _void(state, found[:-1])  # another card replaced them
    return _authorize(state, facts, missing_minor)


def _let_go(state: State, order: Wanted) -> Operation | None:
    """Nothing is missing. An order of which nothing is due goes on without being asked for."""
    if order["status"] == "reserved" and order["may_authorize"] and not state["operations"]:
        return _operation(state, "authorize", 0)
    return _void(state, authorizations(state))


def _capture(state: State, facts: Facts, shipment: int | None, amount_minor: int) -> Operation | None:
    if amount_minor == 0:
        return _operation(state, "capture", 0, shipment=shipment)
    found = [each for each in authorizations(state) if each.left_minor >= amount_minor and not _is_refused(state, each)]
    if found and not state["is_declined"]:
        return _operation(state, "capture", amount_minor, _numbered(state, found[-1].number), shipment)
    return _authorize(state, facts, state["due_minor"] - paid(state))


def _is_refused(state: State, authorization: Authorization) -> bool:
    """Whether a capture on it was refused: then another card has to pay."""
    captures = [each for each in state["operations"] if each["kind"] == "capture" and each["authorization"] == authorization.number]
    return any(each["state"] == "failed" for each in captures)


def _authorize(state: State, facts: Facts, amount_minor: int) -> Operation | None:
    if state["is_declined"] or state["card_token"] is None or not facts["order"]["may_authorize"]:
        return None
    return _operation(state, "authorize", amount_minor)


def _void(state: State, found: Sequence[Authorization]) -> Operation | None:
    if not found or _failures(state, "void") >= MOST_FAILURES:
        return None
    return _operation(state, "void", found[0].left_minor, _numbered(state, found[0].number))


def _operation(
    state: State, kind: OperationKind, amount_minor: int, on: Operation | None = None, shipment: int | None = None
) -> Operation:
    return {
        "number": len(state["operations"]) + 1,
        "kind": kind,
        "amount_minor": amount_minor,
        "shipment": shipment,
        "authorization": on["number"] if on else None,
        "state": "asked",
        "reference": on["reference"] if on else None,
        "code": None,
    }


def _uncaptured(state: State, facts: Facts) -> list[tuple[int, int]]:
    """The packed parcels for which nothing is captured, with what they cost."""
    packed = facts["fulfilment"]["packed"] if "fulfilment" in facts else {}
    captured = {each["shipment"] for each in state["operations"] if each["kind"] == "capture" and each["state"] == "succeeded"}
    return [(int(number), packed[number]) for number in sorted(packed, key=int) if int(number) not in captured]


def _is_all_gone(facts: Facts) -> bool:
    """And the order has said what is due without what was stopped: shipping may be heard of sooner."""
    sent = facts.get("fulfilment")
    return sent is not None and sent["all_gone"] and facts["order"]["cancel_number"] >= sent["answered"]


def _cases(state: State, facts: Facts, context: Context) -> list[Case]:
    """What needs a person now; what did before keeps the moment since when it does."""
    since = {(each["kind"], each["number"]): each["since"] for each in state["cases"]}
    return [
        {"kind": kind, "number": number, "reason": reason, "since": since.get((kind, number), context.now)}
        for kind, number, reason in _needs(state, facts)
    ]


def _needs(state: State, facts: Facts) -> list[tuple[str, int, str]]:
    found: list[tuple[str, int, str]] = []
    operations = state["operations"]
    if (asked := facts.get("asked")) and facts.get("given_up"):
        found.append((UNANSWERED, asked["number"], "the provider has not answered, however often it was asked"))
    found += [("disputed", each["number"], "the provider contradicts itself") for each in operations if each["state"] == "disputed"]
    kinds: tuple[OperationKind, ...] = ("refund", "void")
    for kind in kinds:
        if _failures(state, kind) >= MOST_FAILURES:
            last = max(each["number"] for each in operations if each["kind"] == kind)
            found.append((f"{kind} failed", last, f"it failed {MOST_FAILURES} times"))
    if _is_all_gone(facts) and paid(state) < state["due_minor"]:
        found.append(("uncollected", 0, "the goods are gone, and less is paid than is due"))
    return found


def _failures(state: State, kind: OperationKind) -> int:
    """How often it has failed since it last worked, or since somebody ruled."""
    failures = 0
    for each in state["operations"]:
        if each["kind"] == kind:
            failures = failures + 1 if each["state"] == "failed" and each["code"] != "ruled" else 0
    return failures


def _apply(
    payment: Payment, state: State, operation: Operation, type_: PaymentEventType, reason: str | None, context: Context
) -> PaymentEvent:
    """The event of an operation that is as given now."""
    changed: State = {**state, "operations": _with(state["operations"], operation)}
    return _event(payment, changed, type_, reason, context)


def _event(payment: Payment, state: State, type_: PaymentEventType, reason: str | None, context: Context) -> PaymentEvent:
    """All that follows from the ledger is worked out anew."""
    facts = _answered_facts(payment.facts, state["operations"])
    found: State = {
        **state,
        "reason": reason,
        "authorized_minor": sum(each.left_minor for each in authorizations(state)),
        "captured_minor": _sum(state, "capture"),
        "refunded_minor": _sum(state, "refund"),
    }
    found["cases"] = _cases(found, facts, context)
    if not facts.get("asked") and not is_doubtful(found) and not next_operation(found, facts):
        found["settled_version"] = found["order_version"]
    found["status"] = _status(found)
    event: Event[Any, Any] = context.event(type_, payment.order_id, payment.version + 1, found)
    return event


def _answered_facts(facts: Facts, operations: Sequence[Operation]) -> Facts:
    asked = facts.get("asked")
    if asked:
        for each in operations:
            if each["number"] == asked["number"] and each["state"] not in ("asked", "unknown"):
                return {**facts, "asked": None, "given_up": False}
    return facts


def _status(state: State) -> PaymentStatus:
    """One word for a person."""
    checks: tuple[tuple[PaymentStatus, Callable[[], bool]], ...] = (
        ("unknown", lambda: any(each["state"] == "unknown" for each in state["operations"])),
        ("declined", lambda: state["is_declined"] and paid(state) < state["due_minor"]),
        ("paid", lambda: 0 < state["due_minor"] <= paid(state)),
        ("authorized", lambda: state["authorized_minor"] > 0),
        ("refunded", lambda: state["due_minor"] == 0 and state["captured_minor"] > 0),
        ("closed", lambda: state["due_minor"] == 0),
    )
    return next((status for status, holds in checks if holds()), "open")


def _differs(state: State, settled: State) -> bool:
    """Whether there is something to say of a payment for which nothing is left to do."""
    names = ("settled_version", "cases")
    return any(state[name] != settled[name] for name in names)  # type: ignore[literal-required]


def _operations(state: State, facts: Facts) -> list[Operation]:
    """With the one that is under way."""
    asked = facts.get("asked")
    return _with(state["operations"], asked) if asked else state["operations"]


def _with(operations: Sequence[Operation], operation: Operation) -> list[Operation]:
    others = [each for each in operations if each["number"] != operation["number"]]
    return sorted([*others, operation], key=lambda each: each["number"])


def _numbered(state: State, number: int) -> Operation:
    [found] = [each for each in state["operations"] if each["number"] == number]
    return found


def _sum(state: State, kind: OperationKind) -> int:
    return sum(each["amount_minor"] for each in state["operations"] if each["kind"] == kind and each["state"] == "succeeded")


def _on(state: State, number: int, kind: OperationKind) -> int:
    return sum(
        each["amount_minor"]
        for each in state["operations"]
        if each["kind"] == kind and each["state"] == "succeeded" and each["authorization"] == number
    )
