"""The provider over HTTP."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from demo.provider.cards import CardScript, Kind, token_of
from demo.provider.ledger import SCHEMA, Asked, Broken, Done, KeyReused, Ledger
from demo.simulator import server
from demo.simulator.clock import Bell, Clock
from demo.simulator.command import Start
from demo.simulator.scripts import Scripts
from demo.simulator.server import MAX_KEY_CHARACTERS, Refusal, answer, body_of, key_of
from demo.simulator.store import Store
from demo.simulator.webhooks import Outbox, Sender
from kernel.limits import MAX_NUMBER

_MOST_ENTRIES = 1_000
#: Seconds that what is told takes beside what is scripted: providers tell by way of a queue, so the answer is there before.
_TELLS_AFTER_S = 0.25
_Amount = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
_Id = Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARACTERS)]


class _Sent(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Authorize(_Sent):
    order_id: _Id
    amount_minor: _Amount
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    token: _Id


class _OfAmount(_Sent):
    amount_minor: _Amount


class _OfAll(_Sent):
    """A void needs nothing."""


class _CardNumber(_Sent):
    number: str = Field(max_length=40)


class _ForKeys(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prefix: str = Field(max_length=MAX_KEY_CHARACTERS)
    kind: Kind | None = None
    script: CardScript


class Provider:
    """The provider: its books, and its doors."""

    def __init__(self, given: Start, webhooks: str | None) -> None:
        """What becomes of every operation is told at the address `webhooks`."""
        store = Store(given.path, SCHEMA)
        self._clock = Clock(store)
        self._bell = Bell(self._clock)
        self._scripts = Scripts(store, CardScript)
        outbox = Outbox(store, self._bell.ring, tells=webhooks is not None, after_s=_TELLS_AFTER_S)
        self._ledger = Ledger(store, self._scripts, outbox, self._clock)
        self._sender = Sender(webhooks or "", given.secrets, outbox, self._clock, self._bell)
        self._app = server.application(given.key, open_paths=["/tokens"])
        server.add_clock(self._app, self._clock, self._bell)
        self._app.add_routes(
            [
                web.post("/tokens", self._token),
                web.post("/authorizations", self._authorize),
                web.get("/authorizations/{reference}", self._authorization),
                web.post("/authorizations/{reference}/captures", self._capture),
                web.post("/authorizations/{reference}/void", self._void),
                web.post("/authorizations/{reference}/refunds", self._refund),
                web.get("/operations/{id}", self._operation),
                web.get("/ledger", self._page),
                web.post("/scripts", self._script),
            ]
        )

    def serve(self, host: str, port: int) -> None:
        """Until SIGTERM."""
        server.serve(self._app, host, port, self._sender.run, self._pass_time)

    async def _pass_time(self) -> None:
        while True:
            self._ledger.pass_time()
            await self._bell.wait(self._ledger.next_at)

    async def _token(self, request: web.Request) -> web.Response:
        """What a customer's browser does, on the provider's page."""
        token = token_of((await body_of(request, _CardNumber)).number.replace(" ", ""))
        if token is None:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "number: There is no card of this number")
        return answer({"token": token})

    async def _authorize(self, request: web.Request) -> web.Response:
        sent = await body_of(request, _Authorize)
        return await self._operate(request, Asked(key_of(request), "authorize", **sent.model_dump()))

    async def _capture(self, request: web.Request) -> web.Response:
        return await self._of_amount(request, "capture")

    async def _refund(self, request: web.Request) -> web.Response:
        return await self._of_amount(request, "refund")

    async def _of_amount(self, request: web.Request, kind: Kind) -> web.Response:
        sent = await body_of(request, _OfAmount)
        reference = request.match_info["reference"]
        return await self._operate(request, Asked(key_of(request), kind, sent.amount_minor, reference))

    async def _void(self, request: web.Request) -> web.Response:
        await body_of(request, _OfAll)
        return await self._operate(request, Asked(key_of(request), "void", reference=request.match_info["reference"]))

    async def _operate(self, request: web.Request, asked: Asked) -> web.Response:
        try:
            done = self._ledger.operate(asked)
        except KeyReused as error:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "This Idempotency-Key is that of another operation") from error
        except Broken as error:
            raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here: try again") from error
        self._bell.ring()  # it may be the first that expires
        return await self._reply(request, done)

    async def _reply(self, request: web.Request, done: Done) -> web.Response:
        if done.script.webhook_first:
            await self._sender.until_tried(done.told)
        delay_s = done.script.delay_s if done.is_new else 0
        return await server.reply(request, done.operation, self._bell, delay_s, drops=done.drops)

    async def _operation(self, request: web.Request) -> web.Response:
        return _found(self._ledger.lookup(request.match_info["id"]))

    async def _authorization(self, request: web.Request) -> web.Response:
        return _found(self._ledger.authorization(request.match_info["reference"]))

    async def _page(self, request: web.Request) -> web.Response:
        after = server.number(request, "after", 0)
        entries = self._ledger.page(after, _MOST_ENTRIES)
        more = entries[-1]["number"] if len(entries) == _MOST_ENTRIES else None
        return answer({"entries": entries, "next": more})

    async def _script(self, request: web.Request) -> web.Response:
        sent = await body_of(request, _ForKeys)
        self._scripts.give(sent.prefix, sent.kind or "", sent.script)
        return answer({})


def _found(content: Mapping[str, Any] | None) -> web.Response:
    if content is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "There is none of this id")
    return answer(content)
