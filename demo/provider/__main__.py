"""`python -m demo.provider`: serves the provider on this machine."""

import typer

from demo.provider.app import Provider
from demo.simulator.command import LOOPBACK, Address, Data, Host, Port, start


def main(port: Port, data: Data, webhooks: Address = None, host: Host = LOOPBACK) -> None:
    """Serve until SIGTERM; its secrets are in MAREA_PROVIDER_KEY and MAREA_PROVIDER_WEBHOOK_SECRETS."""
    Provider(start("provider", data), webhooks).serve(host, port)


if __name__ == "__main__":
    typer.run(main)
