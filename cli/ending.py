"""How commands that start something end when they are told to."""

import signal


def heed_sigterm() -> None:
    """Whoever ends us politely gets the same as with Ctrl-C: what was started is ended."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
