"""A stack with those who watch it, whose alerts do not take minutes; and what Prometheus says."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from tenacity import RetryError

from local.layout import Layout
from local.stack import Stack
from tests.stack.shop import eventually

#: For how long something lasts before there is an alert, and how long an order may wait.
AFTER_S, SAGA_OBJECTIVE_S = 2, "4"


@contextmanager
def watched(stack: Stack) -> Iterator["Prometheus"]:
    """The stack in the profile full, for as long as a `with` lasts."""
    os.environ["MAREA_SAGA_OBJECTIVE_S"] = SAGA_OBJECTIVE_S
    stack.layout.keep_setting("alerts_after_s", AFTER_S)
    stack.use_profile("full")
    try:
        stack.up()
        yield Prometheus(stack.layout)
    finally:
        del os.environ["MAREA_SAGA_OBJECTIVE_S"]
        stack.layout.keep_setting("alerts_after_s", None)
        stack.use_profile("core")
        stack.up()


class Prometheus:
    """What it knows, and what it says of it."""

    def __init__(self, layout: Layout) -> None:
        self._url = f"http://{layout.address('prometheus')}/api/v1"
        self._alertmanager = f"http://{layout.address('alertmanager')}/api/v2"

    def query(self, query: str) -> dict[tuple[tuple[str, str], ...], float]:
        """By labels, the value of each series now."""
        found = self._get("/query", query=query)["result"]
        return {tuple(sorted(each["metric"].items())): float(each["value"][1]) for each in found}

    def firing(self) -> set[str]:
        """The names of the alerts that there are."""
        return {each["labels"]["alertname"] for each in self._get("/alerts")["alerts"] if each["state"] == "firing"}

    def await_quiet(self) -> None:
        """Returns when there is no alert but the watchdog."""
        try:
            eventually(lambda: self.firing() == {"Watchdog"})
        except RetryError as error:
            raise AssertionError(f"these alerts last: {self.firing() - {'Watchdog'}}") from error

    def told(self) -> set[str]:
        """The names of the alerts that Alertmanager has heard of."""
        answer = requests.get(f"{self._alertmanager}/alerts", timeout=10)
        answer.raise_for_status()
        return {each["labels"]["alertname"] for each in answer.json()}

    def down(self) -> list[str]:
        """Those who do not answer, as they are named."""
        targets = self._get("/targets", state="active")["activeTargets"]
        return [f"{each['labels']['instance']}: {each['lastError']}" for each in targets if each["health"] != "up"]

    def _get(self, path: str, **parameters: str) -> Any:
        answer = requests.get(self._url + path, params=parameters, timeout=10)
        answer.raise_for_status()
        return answer.json()["data"]
