"""Payments over HTTP."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Response, request
from flask_openapi3.openapi import OpenAPI

from api.payments import rules
from api.payments.calls import News, learn, order_of, recorded
from api.payments.models import NewCard, OperationOf, OrderId, PaymentRuling, Retry
from api.payments.models import Payment as PaymentModel
from api.payments.provider import Webhook
from api.payments.reactions import Advanced, payment_of, save
from api.payments.rules import Payment
from api.payments.service import SERVICE
from api.payments.store import Payments
from api.web import app as web
from api.web import replies, requests
from api.web.idempotency import Keep, RequiredKey, once
from api.web.operators import OPERATOR, Staff
from api.web.tokens import Reading
from kernel.aggregates import Kept, shown
from kernel.audit import Note
from kernel.clock import Clock
from kernel.context import Context
from kernel.database import Database
from kernel.refusals import Conflict, Unknown
from kernel.token import version_of
from schemas.payment import PaymentEvent
from streams.engine.reader import Views
from streams.views.payments import payment

#: Reads what the provider has told us. Raises BadSignature, or Malformed.
Parse = Callable[[Mapping[str, str], bytes, datetime], Webhook]


class _StaffCommand(RequiredKey, Staff):
    """What a command of staff brings."""


def create_app(database: Database[Payments], views: Views, clock: Clock, parse: Parse, operator_key: str) -> OpenAPI:
    """The service, put together from what it needs."""
    handlers = _Handlers(database, views, clock, parse)
    routes = web.blueprint(SERVICE)
    routes.get("/v1/payments/<order_id>", responses={HTTPStatus.OK: PaymentModel})(handlers.get_payment)
    routes.post("/v1/payments/<order_id>/card", responses={HTTPStatus.OK: PaymentModel})(handlers.change_card)
    operation = "/v1/payments/<order_id>/operations/<number>"
    routes.post(f"{operation}/ruling", responses={HTTPStatus.OK: PaymentModel})(handlers.rule)
    routes.post(f"{operation}/retry", responses={HTTPStatus.OK: PaymentModel})(handlers.retry)
    routes.post("/v1/webhooks/provider", responses={HTTPStatus.NO_CONTENT: None})(handlers.hear_provider)
    return web.create_app(SERVICE, routes, database.ping, operator_key)


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(self, database: Database[Payments], views: Views, clock: Clock, parse: Parse) -> None:
        self._database = database
        self._views = views
        self._clock = clock
        self._parse = parse

    def get_payment(self, path: OrderId, header: Reading) -> Response:
        """An order's payment as its view has it: what is due, what was paid, and each operation with the provider."""
        order_id = str(path.order_id)
        row = self._views.get("payment", order_id, header.after(payment.TOPIC))
        return replies.reply_row(row, f"There is no payment of order {order_id}.")

    def change_card(self, path: OrderId, header: RequiredKey, body: NewCard) -> Response:
        """Another card for what is still due: after the first was declined, or when there was none."""
        order_id = str(path.order_id)
        return self._change(
            order_id, header, lambda now, context: rules.change_card(order_id, now, body.card_token, context)
        )

    def rule(self, path: OperationOf, header: _StaffCommand, body: PaymentRuling) -> Response:
        """Settles a case: what became of an operation, as somebody has found out. What was paid back too much is written off."""
        order_id = str(path.order_id)
        return self._change(
            order_id,
            header,
            lambda now, context: rules.rule(order_id, now, path.number, body.outcome, body.reason, context),
            Note(self._clock.now(), OPERATOR, "rule", order_id, body.reason, {"operation": path.number, "outcome": body.outcome}),
        )

    def retry(self, path: OperationOf, header: _StaffCommand, body: Retry) -> Response:
        """Asks the provider again for an operation that was given up."""
        order_id, context = str(path.order_id), requests.context(self._clock)

        def retry(keep: Keep) -> Response:
            with self._database.transaction() as payments:
                if not payments.retry(f"{order_id}.{path.number}", context.now):
                    raise Conflict(f"Operation {path.number} of order {order_id} was not given up.")
                kept = payments.payments.lock([order_id])[order_id]
                payments.note(Note(context.now, OPERATOR, "retry", order_id, body.reason, {"operation": path.number}))
                answer = self._answer(kept, [])
                save(payments, [Advanced(kept, payment_of(kept), [], context)], keep(answer))
            return answer

        return once(self._database, header, retry)

    def hear_provider(self) -> Response:
        """What the provider tells by itself, signed. What it tells twice does nothing the second time."""
        context, body = requests.context(self._clock), request.get_data()
        webhook = self._parse(dict(request.headers), body, context.now)
        operation_id = webhook.outcome.operation_id
        with self._database.transaction() as payments:
            if payments.keep_webhook(webhook.id, operation_id, body, context.now):
                asked_for = payments.done([operation_id], context.now).get(operation_id, context.traceparent)
                caused = context._replace(traceparent=asked_for)
                with suppress(Unknown):  # it is kept, for whoever wants to know whose it is
                    learn(payments, [News(order_of(operation_id), recorded(webhook.outcome), caused)])
        return Response(status=HTTPStatus.NO_CONTENT)

    def _change(
        self,
        order_id: str,
        header: RequiredKey,
        decide: Callable[[Payment | None, Context], PaymentEvent],
        note: Note | None = None,
    ) -> Response:
        """Does to a payment what is decided, and what follows from that."""
        context = requests.context(self._clock)

        def change(keep: Keep) -> Response:
            with self._database.transaction() as payments:
                kept = payments.payments.lock([order_id]).get(order_id)
                event = decide(payment_of(kept) if kept else None, context)
                assert kept is not None
                after, more = rules.advance(rules.evolve(payment_of(kept), event), context)
                events = [event, *more]
                answer = self._answer(kept, events)
                if note:
                    payments.note(note)
                save(payments, [Advanced(kept, after, events, context)], keep(answer))
            return answer

        return once(self._database, header, change)

    def _answer(self, kept: Kept[rules.State], events: list[PaymentEvent]) -> Response:
        row: Any = dict(payment.expected([shown(kept)] if kept.state else [])).get(kept.id)
        for event in events:
            row = payment.fold(row, event)
        token = self._views.token([version_of(event) for event in events])
        return replies.changed(row, token, headers={"ETag": replies.etag(row["version"])})


