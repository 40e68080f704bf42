"""How what listeners hear is counted."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest

from bench.streams import Arrivals, Listener, NotTold, moments, percentile

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n26\r\nretry: 2000\nid: 0-0\n\n\r\n"
CHANGE = b'40\r\nid: 1-0\ndata: {"sku":"a","updated_at":"%s"}\n\n\r\n'


def change(second: int) -> bytes:
    return CHANGE % f"2026-01-01T12:00:0{second}.000000Z".encode()


@pytest.mark.parametrize(("percent", "value"), [(1, 3), (50, 3), (75, 3), (76, 8), (99, 8)])
def test_a_percentile_is_a_value_that_so_many_are_not_above(percent: int, value: int) -> None:
    assert percentile(Counter({8: 1, 3: 3}), percent) == value


def test_a_change_is_found_by_the_moment_that_it_is_stamped_with() -> None:
    at = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
    assert moments(change(1) + change(2)) == [at + 1, at + 2]


@pytest.mark.parametrize("size", [1, 7, 50, 1_000])
def test_every_change_counts_once_however_it_arrives(size: int) -> None:
    async def main() -> None:
        arrivals = Arrivals(listeners=2, changes=2)
        for _ in range(2):
            listener = Listener(b"", arrivals)
            data = HEAD + change(1) + change(2)
            for start in range(0, len(data), size):
                listener.data_received(data[start : start + size])
        assert arrivals.are_open.done()
        assert arrivals.are_told.done()
        assert arrivals.delays_ms.total() == 4
        assert len(arrivals.last_ms) == 2

    asyncio.run(main())


def test_a_stream_that_is_refused_or_ends_fails_the_measurement() -> None:
    async def main() -> None:
        for is_refused in (True, False):
            arrivals = Arrivals(listeners=1, changes=1)
            listener = Listener(b"", arrivals)
            if is_refused:
                listener.data_received(b"HTTP/1.1 503 Service Unavailable\r\n\r\n\n\n")
            else:
                listener.connection_lost(None)
            for each in (arrivals.are_open, arrivals.are_told):
                with pytest.raises(NotTold):
                    each.result()

    asyncio.run(main())
