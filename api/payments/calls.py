"""Asking the provider: one operation a task, whose answer is recorded once, whoever brings it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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
Learned = Callable[[Payment, Context], PaymentEvent | None]


class News(NamedTuple):
    """Something that became known of an order's payment; what follows from it has the context."""

    order_id: str
    learned: Learned
    context: Context


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
    learn(payments, [News(_order(each), recorded(each.answer), _caused(each, context)) for each in answered])


def record_unanswered(payments: Payments, unanswered: Sequence[Unanswered], context: Context) -> None:
    """Nobody knows what has become of an operation; after too many tries, a person has to find out."""
    learn(payments, [News(_order(each), _unknown(each), _caused(each, context)) for each in unanswered])


def learn(payments: Payments, news: Sequence[News]) -> None:
    """Takes in what became known of payments, and does what follows.

    There may be two of one order: one operation is under way, but an earlier one that was ruled may be answered after all.
    """
    advanced: dict[str, Advanced] = {}
    kept = payments.payments.lock(sorted({each.order_id for each in news}))
    for order_id, learned, context in (each for each in news if each.order_id in kept):
        before = advanced.get(order_id) or Advanced(kept[order_id], payment_of(kept[order_id]), [], context)
        if event := learned(before.after, context):
            after, more = rules.advance(rules.evolve(before.after, event), context)
            advanced[order_id] = Advanced(kept[order_id], after, [*before.events, event, *more], context)
    save(payments, list(advanced.values()))


def recorded(outcome: Outcome) -> Learned:
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


def _unknown(failed: Unanswered) -> Learned:
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
