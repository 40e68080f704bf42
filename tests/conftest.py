"""The stack under test: one for each process that runs tests, on ports and in a folder of its own."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from local.layout import PORTS, Layout
from local.processes import running
from local.stack import Stack, tail

DEFAULT_TEST_PORT = 18000
#: Work goes from one to the other when one dies.
WORKERS = 2
#: Programs that say why events do not get through, and how many lines of each log a failing test shows.
TALKERS, LOG_LINES = ("connect", "worker-1", "worker-2"), 20
#: The folders that come first.
EARLY = ("unit", "contract")
#: Reads all of a topic, as outsiders do: others write what is no event there.
FIRST = "test_contract_outside"
#: The files that take minutes. They come before the others on the stack, so that all processes end at about the same time.
LONG = (
    "test_new_code",
    "test_faults",
    "test_watching",
    "test_generations",
    "test_rebuild",
    "test_parked",
    "test_payments_faults",
    "test_relay",
    "test_chaos",
    "test_idempotency",
    "test_scenarios",
    "test_streams",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs no stack comes first, then contracts, before programs are killed, then FIRST, then what takes longest."""
    after = len(LONG)

    def place(item: pytest.Item) -> int:
        name = item.path.stem
        if item.path.parent.name in EARLY:
            return EARLY.index(item.path.parent.name) - len(EARLY) - 1
        if name == FIRST:
            return -1
        return LONG.index(name) if name in LONG else after

    items.sort(key=place)


@pytest.fixture(scope="session")
def port(worker_id: str) -> int:
    """The base port of this process's stack; from there on it has ports for another one, too."""
    process = 0 if worker_id == "master" else int(worker_id.removeprefix("gw"))  # pytest-xdist's names
    return int(os.environ.get("MAREA_PORT", DEFAULT_TEST_PORT)) + process * 2 * PORTS


@pytest.fixture(scope="session")
def stack(port: int) -> Iterator[Stack]:
    """A stack that starts empty, with its settings in this process's environment; gone when the tests are over."""
    layout = Layout(port)
    stack = Stack(layout)
    stack.reset()
    before = os.environ.copy()
    os.environ.update(layout.environment)
    try:
        stack.use_workers(WORKERS)
        stack.up()
        yield stack
    finally:
        stack.down()
        assert not left_behind(layout), "processes that have outlived the stack"
        os.environ.clear()
        os.environ.update(before)


def left_behind(layout: Layout) -> list[int]:
    """Processes that work in the stack's folder, and do not just end."""

    def works_there(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(layout.folder)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False  # ended, or not ours

    look = Retrying(
        retry=retry_if_result(bool),
        stop=stop_after_delay(1),
        wait=wait_fixed(0.05),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    found: list[int] = look(lambda: [pid for pid in running() if works_there(pid)])
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the stack said last is part of the report: it is gone when somebody reads that."""
    report = yield
    stack = item.funcargs.get("stack")
    if report.failed and isinstance(stack, Stack):
        report.sections += [(f"log of {name}", tail(stack.layout.log(name), LOG_LINES)) for name in TALKERS]
    return report
