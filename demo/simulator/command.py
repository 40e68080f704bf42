"""How a company is started: its options and its settings."""

import logging
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from api.web.webhooks import secrets_of
from kernel.settings import setting

LOOPBACK = "127.0.0.1"

Host = Annotated[str, typer.Option(help="The address at which it serves; this machine's own, unless it has a network of its own.")]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="The port.")]
Data = Annotated[Path, typer.Option(help="The folder of its database.")]
Address = Annotated[str | None, typer.Option(help="Where it tells what becomes of things; else it tells nobody.")]


class Start(NamedTuple):
    """Where its database is, the key that callers need, and what it signs with."""

    path: str
    key: str
    secrets: tuple[str, ...]


def start(name: str, data: Path) -> Start:
    """What a company starts with. Raises MissingSetting."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    data.mkdir(parents=True, exist_ok=True)
    secrets = secrets_of(setting(f"{name.upper()}_WEBHOOK_SECRETS"))
    return Start(str(data / f"{name}.sqlite"), setting(f"{name.upper()}_KEY"), secrets)
