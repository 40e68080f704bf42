"""The carrier over HTTP."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from demo.carrier.parcels import SCHEMA, Broken, Done, KeyReused, NoParcel, Parcels, ParcelScript
from demo.simulator import server
from demo.simulator.clock import Bell, Clock
from demo.simulator.command import Start
from demo.simulator.scripts import Scripts
from demo.simulator.server import MAX_KEY_CHARACTERS, Refusal, answer, body_of, key_of
from demo.simulator.store import Store
from demo.simulator.webhooks import Outbox, Sender

_Reference = Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARACTERS)]


class _Sent(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Book(_Sent):
    reference: _Reference


class _HandOver(_Sent):
    """A parcel that is handed over needs nothing more."""


class _ForReferences(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prefix: str = Field(max_length=MAX_KEY_CHARACTERS)
    kind: Literal["book", "hand_over"] | None = None
    script: ParcelScript


class Carrier:
    """The carrier: its parcels, and its doors."""

    def __init__(self, given: Start, webhooks: str | None, day_s: float) -> None:
        """Every scan is told at the address `webhooks`. A day on its roads takes `day_s` seconds."""
        store = Store(given.path, SCHEMA)
        clock = Clock(store)
        self._bell = Bell(clock)
        self._scripts = Scripts(store, ParcelScript)
        outbox = Outbox(store, self._bell.ring, tells=webhooks is not None)
        self._parcels = Parcels(store, self._scripts, outbox, clock, day_s)
        self._sender = Sender(webhooks or "", given.secrets, outbox, clock, self._bell)
        self._app = server.application(given.key)
        server.add_clock(self._app, clock, self._bell)
        self._app.add_routes(
            [
                web.post("/parcels", self._book),
                web.post("/parcels/{tracking}/hand-over", self._hand_over),
                web.get("/parcels/{tracking}", self._parcel),
                web.post("/scripts", self._script),
            ]
        )

    def serve(self, host: str, port: int) -> None:
        """Until SIGTERM."""
        server.serve(self._app, host, port, self._sender.run)

    async def _book(self, request: web.Request) -> web.Response:
        key, sent = key_of(request), await body_of(request, _Book)
        return await self._do(request, lambda: self._parcels.book(key, sent.reference))

    async def _hand_over(self, request: web.Request) -> web.Response:
        key, _ = key_of(request), await body_of(request, _HandOver)
        return await self._do(request, lambda: self._parcels.hand_over(key, request.match_info["tracking"]))

    async def _parcel(self, request: web.Request) -> web.Response:
        try:
            return answer(self._parcels.lookup(request.match_info["tracking"]))
        except NoParcel as error:
            raise _no_parcel() from error

    async def _do(self, request: web.Request, work: Callable[[], Done]) -> web.Response:
        try:
            done = work()
        except NoParcel as error:
            raise _no_parcel() from error
        except KeyReused as error:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "This Idempotency-Key is that of another parcel") from error
        except Broken as error:
            raise Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here: try again") from error
        delay_s = done.script.delay_s if done.is_new else 0
        return await server.reply(request, done.parcel, self._bell, delay_s, drops=done.drops)

    async def _script(self, request: web.Request) -> web.Response:
        sent = await body_of(request, _ForReferences)
        self._scripts.give(sent.prefix, sent.kind or "", sent.script)
        return answer({})


def _no_parcel() -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, "There is no parcel of this number")
