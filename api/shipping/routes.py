"""Shipping over HTTP."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Response, request
from flask_openapi3.openapi import OpenAPI

from api.shipping import returns, rules
from api.shipping.carrier import Scan
from api.shipping.models import Fulfilment as FulfilmentModel
from api.shipping.models import (
    Inspection,
    NewReturn,
    OrderId,
    ParcelRuling,
    Rejection,
    ReturnOf,
    ShipmentOf,
)
from api.shipping.models import Returns as ReturnsModel
from api.shipping.reactions import delivered_of, fulfilment_of, returns_of, save, save_returns
from api.shipping.returns import Delivered, Returns
from api.shipping.rules import Fulfilment
from api.shipping.service import SERVICE
from api.shipping.store import Shipping
from api.web import app as web
from api.web import replies, requests
from api.web.idempotency import Keep, RequiredKey, once
from api.web.lines import by_sku
from api.web.operators import OPERATOR, Staff
from api.web.tokens import Reading
from kernel.aggregates import Kept, shown
from kernel.audit import Note
from kernel.clock import Clock
from kernel.context import Context
from kernel.database import Database
from kernel.refusals import Unknown
from kernel.token import version_of
from schemas.event import Event
from schemas.fulfilment import FulfilmentEvent
from schemas.returns import ReturnsEvent
from streams.engine.reader import Views
from streams.views.shipping import fulfilment, order_returns

#: Reads what the carrier has told us. Raises BadSignature, or Malformed.
Parse = Callable[[Mapping[str, str], bytes, datetime], Scan]


class _StaffCommand(RequiredKey, Staff):
    """What a command of staff brings."""


def create_app(database: Database[Shipping], views: Views, clock: Clock, parse: Parse, operator_key: str) -> OpenAPI:
    """The service, put together from what it needs."""
    handlers = _Handlers(database, views, clock, parse)
    routes = web.blueprint(SERVICE)
    parcels: dict[Any, Any] = {HTTPStatus.OK: FulfilmentModel}
    back: dict[Any, Any] = {HTTPStatus.OK: ReturnsModel}
    routes.get("/v1/fulfilments/<order_id>", responses=parcels)(handlers.get_fulfilment)
    shipment = "/v1/fulfilments/<order_id>/shipments/<number>"
    routes.post(f"{shipment}/pack", responses=parcels)(handlers.pack)
    routes.post(f"{shipment}/dispatch", responses=parcels)(handlers.dispatch)
    routes.post(f"{shipment}/ruling", responses=parcels)(handlers.rule)
    routes.get("/v1/returns/<order_id>", responses=back)(handlers.get_returns)
    routes.post("/v1/returns/<order_id>", responses=back)(handlers.request_return)
    for name in ("cancel", "approve", "reject", "receive", "accept"):
        routes.post(f"/v1/returns/<order_id>/<number>/{name}", responses=back)(getattr(handlers, f"{name}_return"))
    routes.post("/v1/webhooks/carrier", responses={HTTPStatus.NO_CONTENT: None})(handlers.hear_carrier)
    return web.create_app(SERVICE, routes, database.ping, operator_key)


class _Handlers:
    """What each route does; its docstring is the route's description."""

    def __init__(self, database: Database[Shipping], views: Views, clock: Clock, parse: Parse) -> None:
        self._database = database
        self._views = views
        self._clock = clock
        self._parse = parse

    def get_fulfilment(self, path: OrderId, header: Reading) -> Response:
        """An order's parcels as their view has them."""
        order_id = str(path.order_id)
        row = self._views.get("fulfilment", order_id, header.after(fulfilment.TOPIC))
        return replies.reply_row(row, f"Nothing is planned for order {order_id}.")

    def pack(self, path: ShipmentOf, header: _StaffCommand) -> Response:
        """A planned parcel is packed: now money is taken for it."""
        return self._ship(path, header, lambda now, context: rules.pack(str(path.order_id), now, path.number, context))

    def dispatch(self, path: ShipmentOf, header: _StaffCommand) -> Response:
        """A parcel that is paid for, and has its label, is handed to the carrier."""
        return self._ship(path, header, lambda now, context: rules.dispatch(str(path.order_id), now, path.number, context))

    def rule(self, path: ShipmentOf, header: _StaffCommand, body: ParcelRuling) -> Response:
        """Settles a case: where a parcel is, as somebody has found out."""
        order_id = str(path.order_id)
        return self._ship(
            path,
            header,
            lambda now, context: rules.rule(order_id, now, path.number, body.outcome, body.reason, context),
            self._note("rule", order_id, body.reason, {"shipment": path.number, "outcome": body.outcome}),
        )

    def get_returns(self, path: OrderId, header: Reading) -> Response:
        """An order's returns as their view has them."""
        order_id = str(path.order_id)
        row = self._views.get("order_returns", order_id, header.after(order_returns.TOPIC))
        return replies.reply_row(row, f"Nothing of order {order_id} comes back.")

    def request_return(self, path: OrderId, header: RequiredKey, body: NewReturn) -> Response:
        """The customer wants to give units back that have arrived."""
        order_id, units = str(path.order_id), by_sku(body.lines)
        return self._return(
            order_id,
            header,
            lambda now, there, context: returns.request(order_id, now, there, units, None, returns.WITHIN, context),
        )

    def cancel_return(self, path: ReturnOf, header: RequiredKey) -> Response:
        """The customer keeps them after all."""
        return self._return(str(path.order_id), header, lambda now, _, context: returns.cancel(now, path.number, context))

    def approve_return(self, path: ReturnOf, header: _StaffCommand) -> Response:
        """They may be sent."""
        return self._return(
            str(path.order_id), header, lambda now, _, context: returns.approve(now, path.number, returns.WITHIN, context)
        )

    def reject_return(self, path: ReturnOf, header: _StaffCommand, body: Rejection) -> Response:
        """They may not come back, or what came back is not fit for it."""
        order_id = str(path.order_id)
        return self._return(
            order_id,
            header,
            lambda now, _, context: returns.reject(now, path.number, body.reason, context),
            self._note("reject return", order_id, body.reason, {"return": path.number}),
        )

    def receive_return(self, path: ReturnOf, header: _StaffCommand) -> Response:
        """They have come back and were counted."""
        return self._return(str(path.order_id), header, lambda now, _, context: returns.receive(now, path.number, context))

    def accept_return(self, path: ReturnOf, header: _StaffCommand, body: Inspection) -> Response:
        """They were inspected: so much is paid back."""
        order_id = str(path.order_id)

        def accept(now: Returns, there: Delivered | None, context: Context) -> ReturnsEvent:
            if there is None:
                raise Unknown(f"Nothing of order {order_id} has been sent.")
            return returns.accept(now, path.number, there, body.value_minor, body.restock, context)

        said = {"return": path.number, "value_minor": body.value_minor, "restock": body.restock}
        return self._return(order_id, header, accept, self._note("accept return", order_id, "inspected", said))

    def hear_carrier(self) -> Response:
        """What the carrier tells by itself, signed. What it tells twice does nothing the second time."""
        context, body = requests.context(self._clock), request.get_data()
        scan = self._parse(dict(request.headers), body, context.now)
        with self._database.transaction() as shipping:
            if shipping.keep_webhook(scan.id, scan.tracking, body, context.now) and (parcel := shipping.labelled(scan.tracking)):
                order_id, number = parcel
                kept = shipping.fulfilments.lock([order_id])[order_id]
                event = rules.scan(fulfilment_of(kept), number, scan.what, context)
                save(shipping, [(kept, [event], kept.notes)] if event else [], context)
        return Response(status=HTTPStatus.NO_CONTENT)

    def _note(self, command: str, order_id: str, reason: str, data: Mapping[str, Any]) -> Note:
        return Note(self._clock.now(), OPERATOR, command, order_id, reason, data)

    def _ship(
        self,
        path: ShipmentOf,
        header: RequiredKey,
        decide: Callable[[Fulfilment | None, Context], FulfilmentEvent],
        note: Note | None = None,
    ) -> Response:
        """Does to a parcel what is decided, and what follows from that."""
        order_id, context = str(path.order_id), requests.context(self._clock)

        def ship(keep: Keep) -> Response:
            with self._database.transaction() as shipping:
                kept = shipping.fulfilments.lock([order_id]).get(order_id)
                event = decide(fulfilment_of(kept) if kept else None, context)
                assert kept is not None
                more = rules.run(rules.evolve(fulfilment_of(kept), event), context)
                events = [event, *more]
                answer = self._answer(kept, events, fulfilment)
                if note:
                    shipping.note(note)
                save(shipping, [(kept, events, kept.notes)], context, keep(answer))
            return answer

        return once(self._database, header, ship)

    def _return(
        self,
        order_id: str,
        header: RequiredKey,
        decide: Callable[[Returns, Delivered | None, Context], ReturnsEvent],
        note: Note | None = None,
    ) -> Response:
        """Does to returns what is decided, and what follows from that."""
        context = requests.context(self._clock)

        def change(keep: Keep) -> Response:
            with self._database.transaction() as shipping:
                parcels = shipping.fulfilments.lock([order_id]).get(order_id)
                if parcels is None:
                    raise Unknown(f"Nothing of order {order_id} has been sent.")
                kept = shipping.returns.lock_or_add([order_id])[order_id]
                event = decide(returns_of(kept), delivered_of(parcels), context)
                more = returns.run(returns.evolve(returns_of(kept), event), context)
                events = [event, *more]
                answer = self._answer(kept, events, order_returns)
                if note:
                    shipping.note(note)
                save_returns(shipping, [(kept, events, kept.notes)], keep(answer))
            return answer

        return once(self._database, header, change)

    def _answer(self, kept: Kept[Any], events: Sequence[Event[Any, Any]], view: Any) -> Response:
        """What the view has after these events."""
        row: Any = shown(kept) if kept.state else None
        for event in events:
            row = view.fold(row, event)
        token = self._views.token([version_of(event) for event in events])
        return replies.changed(row, token, headers={"ETag": replies.etag(row["version"])})
