"""The carrier's parcels: each has a label, and, once it has been handed over, the scans that it is going to get."""

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from sqlite3 import Row
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from demo.simulator.clock import Clock
from demo.simulator.scripts import Script, Scripts, Seconds
from demo.simulator.store import Store
from demo.simulator.webhooks import Outbox

# A scan is written when its parcel is handed over, and is there once its moment has come.
SCHEMA = """
CREATE TABLE IF NOT EXISTS parcel (
    tracking TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE, reference TEXT NOT NULL, days INTEGER NOT NULL, handed_over_at REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS scan (tracking TEXT, number INTEGER, what TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (tracking, number))
    WITHOUT ROWID;
"""

_DAYS = 2
_MOST_SCANS = 10


class PlannedScan(BaseModel):
    """A scan that a parcel gets, so many seconds after it was handed over."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: Literal["delivered", "lost"]
    after_s: Seconds


class ParcelScript(Script):
    """What becomes of a parcel, beside what goes wrong with the calls about it."""

    #: How many days it should take.
    days: Annotated[int, Field(ge=1, le=365)] = _DAYS
    #: Its scans; () none ever; None: it is delivered after its days.
    scans: tuple[PlannedScan, ...] | None = Field(default=None, max_length=_MOST_SCANS)


class KeyReused(Exception):
    """The key is that of another parcel."""


class Broken(Exception):
    """The script has it fail: nothing was done."""


class NoParcel(Exception):
    """There is none of this number."""


class Done(NamedTuple):
    """A parcel as it is now, whether something was done with it just now, and how that is to be answered."""

    parcel: Mapping[str, Any]
    is_new: bool
    script: ParcelScript
    drops: bool


class Parcels:
    """All that the carrier knows. Each method is one transaction."""

    def __init__(self, store: Store, scripts: Scripts[ParcelScript], outbox: Outbox, clock: Clock, day_s: float) -> None:
        """`day_s` is how many seconds a day on its roads takes."""
        self._store, self._sql = store, store.sql
        self._scripts, self._outbox, self._clock, self._day_s = scripts, outbox, clock, day_s

    def book(self, key: str, reference: str) -> Done:
        """A label, one however often it is asked for. Raises KeyReused, Broken."""
        with self._store.transaction():
            script, tries = self._tried(reference, "book", key)
            if tries > script.errors:
                row = self._sql.execute("SELECT * FROM parcel WHERE key = ?", (key,)).fetchone()
                if row and row["reference"] != reference:
                    raise KeyReused
                booked = row or self._add(key, reference, script)
                return Done(_parcel(booked), not row, script, _drops(tries, script))
        raise Broken

    def hand_over(self, key: str, tracking: str) -> Done:
        """Has a parcel go its way, once however often it is told. Raises NoParcel, Broken."""
        with self._store.transaction():
            row = self._found(tracking)
            script, tries = self._tried(row["reference"], "hand_over", key)
            if tries > script.errors:
                is_new = row["handed_over_at"] is None
                if is_new:
                    self._start(row, script)
                return Done(_parcel(self._found(tracking)), is_new, script, _drops(tries, script))
        raise Broken

    def lookup(self, tracking: str) -> Mapping[str, Any]:
        """A parcel and its newest scan. Raises NoParcel."""
        row = self._found(tracking)
        sql = "SELECT * FROM scan WHERE tracking = ? AND at <= ? ORDER BY at DESC, number DESC LIMIT 1"
        scan = self._sql.execute(sql, (tracking, self._clock.now())).fetchone()
        return {**_parcel(row), "scan": _scan(scan) if scan else None}

    def _found(self, tracking: str) -> Row:
        row: Row | None = self._sql.execute("SELECT * FROM parcel WHERE tracking = ?", (tracking,)).fetchone()
        if row is None:
            raise NoParcel
        return row

    def _add(self, key: str, reference: str, script: ParcelScript) -> Row:
        # The same in every run.
        tracking = f"MC{int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]):020d}"
        sql = "INSERT INTO parcel (tracking, key, reference, days) VALUES (?, ?, ?, ?) RETURNING *"
        row: Row = self._sql.execute(sql, (tracking, key, reference, script.days)).fetchone()
        return row

    def _start(self, row: Row, script: ParcelScript) -> None:
        now = self._clock.now()
        self._sql.execute("UPDATE parcel SET handed_over_at = ? WHERE tracking = ?", (now, row["tracking"]))
        scans = script.scans
        if scans is None:
            scans = (PlannedScan(what="delivered", after_s=row["days"] * self._day_s),)
        for number, each in enumerate(scans, start=1):
            sql = "INSERT INTO scan VALUES (?, ?, ?, ?) RETURNING *"
            scan = self._sql.execute(sql, (row["tracking"], number, each.what, now + each.after_s)).fetchone()
            self._tell(scan, script)

    def _tell(self, scan: Row, script: ParcelScript) -> None:
        self._outbox.tell({"scan": _scan(scan)}, [scan["at"] + seconds for seconds in script.webhooks])

    def _tried(self, reference: str, kind: str, key: str) -> tuple[ParcelScript, float]:
        script = self._scripts.find(reference, kind) or ParcelScript()
        return script, self._scripts.tried(f"{kind} {key}") if script.errors or script.drops else math.inf


def _drops(tries: float, script: ParcelScript) -> bool:
    return tries <= script.errors + script.drops


def _parcel(row: Row) -> Mapping[str, Any]:
    return {
        "tracking": row["tracking"],
        "reference": row["reference"],
        "days": row["days"],
        "is_handed_over": row["handed_over_at"] is not None,
    }


def _scan(row: Row) -> Mapping[str, Any]:
    return {
        "id": f"{row['tracking']}.{row['number']}",
        "tracking": row["tracking"],
        "what": row["what"],
        "at": datetime.fromtimestamp(row["at"], UTC).isoformat(),
    }


