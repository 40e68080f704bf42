"""The workers' app as a bad deploy would have it: `faust -A tests.stack.bad_app worker`.

It is the shipped one, but for one reaction that raises, and for what it takes for the fingerprint of its code.
"""

from typing import Any

from kernel import code


def _bad_app() -> Any:
    # Others import it by its name: it has to be another one before they do.
    code.fingerprint = lambda: "a bad deploy"  # type: ignore[assignment]
    from api.services import reactions
    from streams.app import app

    object.__setattr__(reactions()["inventory.reservations"], "handle", _fails)
    return app


def _fails(*arguments: object) -> None:
    raise KeyError("warehouse")


app = _bad_app()
