"""Those who work in the shop: they pack parcels, hand them to the carrier, and see to what comes back."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from demo.client import Client
from demo.placing import LoadFailed, post
from streams.engine.reader import Views

#: Seconds between two looks at what is to be done, and people who do it.
LOOK_S, PEOPLE = 0.1, 4

_RETURNS = {"requested": "approve", "approved": "receive", "received": "accept"}
#: What is refused because somebody else was faster, or the customer has changed his mind: it is looked at again.
_LATE = {HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}


class Job(NamedTuple):
    """A command of staff; it counts once, however often it is sent."""

    path: str
    body: bytes = b""


class Staff:
    """Works on certain orders for as long as it is told to. `done` counts what was done, by command."""

    def __init__(self, address: str, key: str, views: Views) -> None:
        """`key` is the operator's."""
        self._address, self._key, self._views = address, key, views
        self._order_ids: dict[str, None] = {}
        self._did: set[Job] = set()
        self.done: dict[str, int] = {}

    def take(self, order_ids: Collection[str]) -> None:
        """Has these orders seen to, too."""
        self._order_ids |= dict.fromkeys(order_ids)

    def leave(self, order_ids: Collection[str]) -> None:
        """Nothing more is to be done for these."""
        for order_id in order_ids:
            del self._order_ids[order_id]

    async def work(self) -> None:
        """Until it is cancelled. Raises LoadFailed when the services refuse for another reason than that it is too late."""
        while True:
            jobs = [job for job in self.jobs() if job not in self._did]  # a view shows a little later that it is done
            people = [jobs[number::PEOPLE] for number in range(PEOPLE)]
            await asyncio.gather(*(self._do(some) for some in people if some))
            await asyncio.sleep(LOOK_S)

    def jobs(self) -> list[Job]:
        """What is to be done now, as the views have it."""
        parcels, back = (self._views.many(view, [*self._order_ids]) for view in ("fulfilment", "order_returns"))
        found = [job for row in parcels if row for job in parcel_jobs(orjson.loads(row))]
        return found + [job for row in back if row for job in return_jobs(orjson.loads(row))]

    async def _do(self, jobs: Sequence[Job]) -> None:
        async with Client(self._address) as client:
            for job in jobs:
                headers = {"Authorization": f"Bearer {self._key}", "Idempotency-Key": job.path.replace("/", "-")}
                answer = await post(client, job.path, job.body, headers)
                if answer.status == HTTPStatus.OK:
                    self._did.add(job)
                    what = job.path.rpartition("/")[2]
                    self.done[what] = self.done.get(what, 0) + 1
                elif answer.status not in _LATE:
                    raise LoadFailed(f"POST {job.path}: {answer.status} {answer.body.decode(errors='replace')[:200]}")


def parcel_jobs(row: dict[str, Any]) -> Iterator[Job]:
    """A planned parcel is packed; one that is paid for and has its label goes to the carrier."""
    for each in row["shipments"]:
        path = f"/v1/fulfilments/{row['order_id']}/shipments/{each['number']}"
        if each["status"] == "planned":
            yield Job(f"{path}/pack")
        if each["status"] == "ready" and each["tracking"]:
            yield Job(f"{path}/dispatch")


def return_jobs(row: dict[str, Any]) -> Iterator[Job]:
    """A return is approved, counted when it comes, which is at once here, and inspected: it is as good as new."""
    for each in row["returns"]:
        if step := _RETURNS.get(each["status"]):
            body = orjson.dumps({"restock": True}) if step == "accept" else b""
            yield Job(f"/v1/returns/{row['order_id']}/{each['number']}/{step}", body)
