"""`python -m demo.carrier`: serves the carrier on this machine."""

from typing import Annotated

import typer

from demo.carrier.app import Carrier
from demo.simulator.command import LOOPBACK, Address, Data, Host, Port, start


def main(
    port: Port,
    data: Data,
    webhooks: Address = None,
    host: Host = LOOPBACK,
    day_s: Annotated[float, typer.Option(min=0, help="How many seconds a day on its roads takes.")] = 1.0,
) -> None:
    """Serve until SIGTERM; its secrets are in MAREA_CARRIER_KEY and MAREA_CARRIER_WEBHOOK_SECRETS."""
    Carrier(start("carrier", data), webhooks, day_s).serve(host, port)


if __name__ == "__main__":
    typer.run(main)
