"""Asking the provider: one operation a task, whose answer is recorded once, whoever brings it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from psycopg2.extensions import cursor as Cursor

from api.payments import rules
from api.payments.provider import Outcome, Provider
from api.payments.reactions import Advanced, payment_of, save
from api.payments.rules import Payment, Result
from api.payments.store import OPERATION, Payments
from kernel.aggregates import dumps
from kernel.context import Context
from kernel.outbox import Outbox
from kernel.tasks import Answered, Call, Task, Unanswered
from schemas.payment import PaymentEvent

#: Operations that are asked for at once: the more, the more answers share a transaction.
THREADS = 32

#: What follows for a payment from something that became known.
Learn = Callable[[Payment, Context], PaymentEvent | None]


def make(provider: Provider, task: Task) -> Outcome:
    """Asks the provider for an operation, or, once it was asked without an answer, first what has become of it."""
    if task.attempts > 1 and (found := provider.lookup(task.id)):
        return found
    outcome = _ask(provider, task.id, task.arguments)
    if outcome.kind == "void" and not outcome.is_done:
        return _is_gone(provider, outcome, task.arguments["authorization"])
    return outcome


def record_answers(payments: Payments, answered: Sequence[Answered], context: Context) -> None:
    """What the provider says becomes known, and what follows from that is done."""
    learn(payments, {_order(each): (recorded(each.answer), _caused(each, context)) for each in answered})


def record_unanswered(payments: Payments, unanswered: Sequence[Unanswered], context: Context) -> None:
    """Nobody knows what has become of an operation; after too many tries, a person has to find out."""
    learn(payments, {_order(each): (_unknown(each), _caused(each, context)) for each in unanswered})


def learn(payments: Payments, news: Mapping[str, tuple[Learn, Context]]) -> None:
    """Takes in what became known of each order's payment, of which one operation is under way, and does what follows."""
    changed: list[Advanced] = []
    for order_id, kept in payments.payments.lock(sorted(news)).items():
        what, context = news[order_id]
        payment = payment_of(kept)
        if event := what(payment, context):
            after, more = rules.advance(rules.evolve(payment, event), context)
            changed.append(Advanced(kept, after, [event, *more], context))
    save(payments, changed)


def recorded(outcome: Outcome) -> Learn:
    """What the provider says became known."""
    number = number_of(outcome.operation_id)
    result = Result(number, outcome.is_done, outcome.amount_minor, outcome.reference, outcome.code)
    return lambda payment, context: rules.record(payment, result, context)


def ledger(provider: Provider) -> Iterator[tuple[str, str]]:
    """What the provider has done, for `verify`: of each operation its order's id, and JSON in the shape of our own."""
    for _, currency, was_done_minor, outcome in provider.ledger():
        order_id = order_of(outcome.operation_id)
        entry = {
            "id": order_id,
            "operation_id": outcome.operation_id,
            "kind": outcome.kind,
            "state": "succeeded" if outcome.is_done else "failed",
            "amount_minor": was_done_minor,
            "currency": currency,
            "code": outcome.code,
        }
        yield order_id, dumps(entry)


def order_of(operation_id: str) -> str:
    """Whose operation it is."""
    return operation_id.rpartition(".")[0]


def number_of(operation_id: str) -> int:
    """Its number among those of its order."""
    return int(operation_id.rpartition(".")[2])


def calls(outbox: Outbox[PaymentEvent], open_provider: Callable[[Callable[[str], str]], Provider]) -> tuple[Call, ...]:
    """All of them; they publish to the outbox."""

    def opened(setting: Callable[[str], str]) -> Callable[[Task], Outcome]:
        provider = open_provider(setting)
        return lambda task: make(provider, task)

    def record(cursor: Cursor, answered: Sequence[Answered], context: Context) -> None:
        record_answers(Payments(cursor, outbox), answered, context)

    def unanswered(cursor: Cursor, failed: Sequence[Unanswered], context: Context) -> None:
        record_unanswered(Payments(cursor, outbox), failed, context)

    settings, secrets = ("PROVIDER_URL",), ("PROVIDER_KEY",)
    return (Call(OPERATION, opened, record, unanswered, settings, secrets, threads=THREADS),)


def _unknown(failed: Unanswered) -> Learn:
    task, error, is_given_up = failed
    number = number_of(task.id)
    return lambda payment, context: rules.unanswered(payment, number, error, is_given_up=is_given_up, context=context)


def _order(each: Answered | Unanswered) -> str:
    return str(each.task.arguments["order_id"])


def _caused(each: Answered | Unanswered, context: Context) -> Context:
    return context._replace(traceparent=each.task.traceparent)


def _ask(provider: Provider, operation_id: str, arguments: Mapping[str, Any]) -> Outcome:
    amount_minor, reference = arguments["amount_minor"], arguments["reference"]
    match arguments["kind"]:
        case "authorize":
            order_id, currency, card_token = (arguments[name] for name in ("order_id", "currency", "card_token"))
            return provider.authorize(operation_id, order_id, amount_minor, currency, card_token)
        case "capture":
            return provider.capture(operation_id, reference, amount_minor)
        case "void":
            return provider.void(operation_id, reference)
    return provider.refund(operation_id, reference, amount_minor)


def _is_gone(provider: Provider, refused: Outcome, authorization_id: str) -> Outcome:
    """A void that was refused, with the code that says so when there is nothing left to void."""
    authorized = provider.lookup(authorization_id)
    is_gone = authorized is not None and not authorized.is_done
    return refused._replace(code="gone") if is_gone else refused
