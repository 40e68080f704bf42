"""One who listens to changes of stock, and comes back whatever happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import orjson
import requests

from tests.stack.shop import lines_of

#: Seconds without a line after which a client may think that nobody is there: twice a heartbeat.
_SILENCE_S = 30
#: Seconds after which it comes back. Streams ask for more; without any it would keep busy what comes up again.
_PAUSE_S = 0.2


class Follower:
    """Listens in a thread of its own, again and again, each time from the last id that it has."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = Event()
        self.versions: dict[str, list[int]] = {}
        self.last_id: str | None = None
        self.opened = 0
        self.opening = Event()
        self._thread = Thread(target=self._follow)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        pause_s = 0.0
        while not self._over.wait(pause_s):
            pause_s = _PAUSE_S
            headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
            try:
                with requests.get(self._url, headers=headers, stream=True, timeout=_SILENCE_S) as stream:
                    if stream.status_code == 200:
                        self.opened += 1
                        self._listen(stream)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                continue

    def _listen(self, stream: requests.Response) -> None:
        """An event counts when it is complete: the next stream begins after it."""
        event_id, data = "", ""
        for line in lines_of(stream):
            if self._over.is_set():
                return
            name, _, value = line.partition(": ")
            if name == "id":
                event_id = value
            elif name == "data":
                data = value
            elif not line and event_id:
                self.last_id = event_id
                self.opening.set()
                if data:
                    change = orjson.loads(data)
                    self.versions.setdefault(change["sku"], []).append(change["version"])
                event_id, data = "", ""


@contextmanager
def following(url: str) -> Iterator[Follower]:
    """A follower that listens, for as long as a `with` lasts."""
    follower = Follower(url)
    try:
        assert follower.opening.wait(30), "no stream has begun"
        yield follower
    finally:
        follower.stop()
