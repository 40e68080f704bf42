"""HTTP of a company: who may call, what can't be read, and the faults of its scripts."""

import asyncio
import hmac
import signal
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from demo.simulator.clock import Bell, Clock

MAX_KEY_CHARACTERS = 200
_BACKLOG = 1_024
_MAX_BODY_BYTES = 65_536
_SHUTDOWN_S = 1.0
_MOST_DIGITS = 18

#: What a company does beside answering; it never ends.
Loop = Callable[[], Coroutine[Any, Any, None]]
_Body = TypeVar("_Body", bound=BaseModel)


class Refusal(Exception):
    """A request that can't be meant: nothing was done, and nothing is kept of it."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class Later(BaseModel):
    """How far the company's clock is to be moved."""

    model_config = ConfigDict(extra="forbid")

    advance_s: float = Field(gt=0, le=10**9)


def application(key: str, open_paths: Sequence[str] = ()) -> web.Application:
    """An application without routes but /health/ready; whoever calls another path needs the key, but for `open_paths`."""
    expected = f"Bearer {key}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        sent = request.headers.get("Authorization", "").encode(errors="replace")
        if request.path not in everybody and not hmac.compare_digest(sent, expected):
            return answer({"detail": "Send the header Authorization: Bearer <key>"}, HTTPStatus.UNAUTHORIZED)
        try:
            return await handler(request)
        except Refusal as refusal:
            return answer({"detail": refusal.detail}, refusal.status)

    everybody = {"/health/ready", *open_paths}
    app = web.Application(middlewares=[guard], client_max_size=_MAX_BODY_BYTES)
    app.router.add_get("/health/ready", _health)
    return app


async def _health(request: web.Request) -> web.Response:
    return answer({"status": "up"})


def add_clock(app: web.Application, clock: Clock, bell: Bell) -> None:
    """POST /clock {"advance_s": 86400} lets a day pass."""

    async def advance(request: web.Request) -> web.Response:
        clock.advance((await body_of(request, Later)).advance_s)
        bell.ring()
        return answer({"now_s": clock.now()})

    app.router.add_post("/clock", advance)


def answer(content: Any, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """JSON."""
    return web.Response(body=orjson.dumps(content), status=status, content_type="application/json")


async def reply(request: web.Request, content: Any, bell: Bell, delay_s: float, *, drops: bool) -> web.Response:
    """An answer, so late by the company's clock; or, if it is dropped, none: the connection is closed."""
    if delay_s:
        await bell.sleep(delay_s)
    if drops and request.transport is not None:
        request.transport.abort()
    return answer(content)


def number(request: web.Request, name: str, default: int) -> int:
    """A number in the query. Raises Refusal."""
    text = request.query.get(name, str(default))
    if not text.isdecimal() or len(text) > _MOST_DIGITS:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: This should be a number")
    return int(text)


async def body_of(request: web.Request, model: type[_Body]) -> _Body:
    """What was sent. Raises Refusal."""
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors())
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, wrong) from error


def key_of(request: web.Request) -> str:
    """The key by which the caller knows the call again. Raises Refusal."""
    key = request.headers.get("Idempotency-Key", "")
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        wrong = f"Send the header Idempotency-Key, of 1 to {MAX_KEY_CHARACTERS} characters"
        raise Refusal(HTTPStatus.BAD_REQUEST, wrong)
    return key


def serve(app: web.Application, host: str, port: int, *loops: Loop) -> None:
    """Serves until SIGTERM; ends with the error of a loop that fails."""
    asyncio.run(_serve(app, host, port, loops))


async def _serve(app: web.Application, host: str, port: int, loops: Sequence[Loop]) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
    ended = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ended.set)
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(each()) for each in loops]
            await ended.wait()
            for task in running:
                task.cancel()
    finally:
        await runner.cleanup()

