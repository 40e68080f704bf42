"""The stack under test: one for the whole run, on ports and in a folder of its own."""

import os
from collections.abc import Iterator

import pytest

from ops.stack.layout import Layout
from ops.stack.lifecycle import Stack

DEFAULT_TEST_PORT = 18000


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack that starts empty, with its settings in this process's environment; gone when the tests are over."""
    layout = Layout(int(os.environ.get("MAREA_PORT", DEFAULT_TEST_PORT)))
    stack = Stack(layout)
    stack.reset()
    before = os.environ.copy()
    os.environ.update(layout.environment)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        os.environ.clear()
        os.environ.update(before)
