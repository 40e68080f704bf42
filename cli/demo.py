"""`marea demo`: the whole path once, from real baskets over HTTP to views that are rebuilt and proven."""

import threading
from collections.abc import Callable
from time import monotonic

from rich.console import Console

from cli.ending import heed_sigterm
from demo.show import Shown, show
from kernel import settings
from local.layout import Layout
from local.programs.clickhouse import curl_settings
from local.stack import Report, Stack

_REPORT = "SELECT department, sum(quantity) FROM order_lines GROUP BY department FORMAT PrettyCompact"


def run(stack: Stack, orders: int, say: Callable[[Shown], None], report: Report, *, once: bool) -> bool:
    """Shows the path on a stack, which is stopped afterwards if it was not up before.

    `say` hears what was found out. Then the stack stays up until Ctrl-C, unless `once`. Gives whether all is
    proven.
    """
    heed_sigterm()
    was_up = stack.supervisor.is_running()
    try:
        started = monotonic()
        stack.use_profile("full")
        stack.up(report)
        shown = show(orders, started)
        say(shown)
        if not once:
            _await_ctrl_c()
        return shown.is_proven
    finally:
        if not was_up:
            stack.down(report)


def print_where_to_look(output: Console, layout: Layout) -> None:
    """Addresses and commands to try."""
    api = settings.setting("API_URL")
    for what, where in (
        ("the API, to try", f"{api}/docs/"),
        ("what is scarce", f"curl '{api}/v1/stock?below=10'"),
        ("stock, live", f"curl -N {api}/v1/streams/stock"),
        ("what is measured", f"http://{layout.address('prometheus')}/graph"),
        ("what is wrong", f"http://{layout.address('prometheus')}/alerts"),
        ("a report", f"curl -K {curl_settings(layout)} -d '{_REPORT}'"),
    ):
        output.print(f"  [bold]{what:<16}[/bold] {where}", highlight=False, soft_wrap=True)


def _await_ctrl_c() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
