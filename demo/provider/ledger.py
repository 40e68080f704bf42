"""The provider's books: what may be done with an authorization, and every operation that was asked for."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from sqlite3 import Row
from typing import Any, NamedTuple

import orjson

from demo.provider.cards import CardScript, Kind, card_of
from demo.simulator.clock import Clock
from demo.simulator.scripts import Scripts
from demo.simulator.store import Store
from demo.simulator.webhooks import Outbox

#: Why an authorization that was done is not any more.
EXPIRED = "expired"

# Of an operation: `done_minor` is for how much it was done, if it was; `code` why it was not, or is not any more.
SCHEMA = """
CREATE TABLE IF NOT EXISTS authorization (
    reference TEXT PRIMARY KEY, order_id TEXT NOT NULL, currency TEXT NOT NULL, token TEXT NOT NULL,
    amount_minor INTEGER NOT NULL, captured_minor INTEGER NOT NULL DEFAULT 0 CHECK (captured_minor <= amount_minor),
    refunded_minor INTEGER NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'voided', 'expired')), expires_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS authorization_expires ON authorization (expires_at)
    WHERE state = 'open' AND captured_minor < amount_minor;
CREATE TABLE IF NOT EXISTS operation (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, asked TEXT NOT NULL,
    reference TEXT, done_minor INTEGER, code TEXT, fails_at REAL
);
CREATE INDEX IF NOT EXISTS operation_reference ON operation (reference, kind);
CREATE INDEX IF NOT EXISTS operation_fails ON operation (fails_at) WHERE fails_at IS NOT NULL;
"""

_EXPIRE = """
UPDATE authorization SET state = 'expired'
WHERE state = 'open' AND captured_minor < amount_minor AND expires_at <= ? RETURNING reference, token
"""
_EXPIRED = "UPDATE operation SET code = ? WHERE reference = ? AND kind = 'authorize' RETURNING *"
_FAIL = "UPDATE operation SET code = 'refund_failed', fails_at = NULL WHERE fails_at <= ? RETURNING *"
_NEXT = """
SELECT min(at) FROM (
    SELECT min(expires_at) AS at FROM authorization WHERE state = 'open' AND captured_minor < amount_minor
    UNION ALL SELECT min(fails_at) FROM operation WHERE fails_at IS NOT NULL
)
"""
_PAGE = """
SELECT number, id, kind, reference, done_minor, code, order_id, currency FROM operation JOIN authorization USING (reference)
WHERE number > ? AND done_minor IS NOT NULL ORDER BY number LIMIT ?
"""
_ADD = """
INSERT INTO operation (id, kind, asked, reference, done_minor, code, fails_at) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING *
"""
_OPERATION = "SELECT * FROM operation WHERE id = ?"
_ORDINARY = CardScript()


class Asked(NamedTuple):
    """One operation, as it is asked for. What its kind does not need is None."""

    id: str
    kind: Kind
    amount_minor: int | None = None
    reference: str | None = None
    order_id: str | None = None
    currency: str | None = None
    token: str | None = None

    def as_text(self) -> str:
        """The same for the same operation."""
        return orjson.dumps([*self]).decode()


class Authorization(NamedTuple):
    """What is held on a card, and what has become of it."""

    reference: str
    order_id: str
    currency: str
    token: str
    amount_minor: int
    captured_minor: int
    refunded_minor: int
    state: str
    expires_at: float

    @property
    def held_minor(self) -> int:
        """What can still be captured while it is open."""
        return self.amount_minor - self.captured_minor


class KeyReused(Exception):
    """The key is that of another operation."""


class Broken(Exception):
    """The script has it fail: nothing was done."""


class Done(NamedTuple):
    """An operation as it is now, whether it was carried out just now, and how that is to be answered."""

    operation: Mapping[str, Any]
    is_new: bool
    script: CardScript
    drops: bool
    told: Sequence[int]


class Ledger:
    """All that the provider knows. Each method is one transaction."""

    def __init__(self, store: Store, scripts: Scripts[CardScript], outbox: Outbox, clock: Clock) -> None:
        self._store, self._sql = store, store.sql
        self._scripts, self._outbox, self._clock = scripts, outbox, clock
        #: When the next authorization expires or refund fails.
        self.next_at = self._next_at()

    def operate(self, asked: Asked) -> Done:
        """Carries an operation out, once however often it comes. Raises KeyReused, Broken."""
        self.pass_time()
        with self._store.transaction():
            authorization = self._authorization(asked.reference)
            token = asked.token or (authorization.token if authorization else "")
            script = self._script(asked.id, asked.kind, token, asked.reference)
            tries = self._scripts.tried(asked.id) if script.errors or script.drops else math.inf
            if tries > script.errors:
                known = self._known(asked)
                row = known or self._carry_out(asked, authorization, script)
                told = () if known else self._tell(row, script)
                return Done(_operation(row), not known, script, tries <= script.errors + script.drops, told)
        raise Broken

    def lookup(self, operation_id: str) -> Mapping[str, Any] | None:
        """An operation as it is now; None when it never came."""
        self.pass_time()
        row = self._sql.execute(_OPERATION, (operation_id,)).fetchone()
        return _operation(row) if row else None

    def authorization(self, reference: str) -> Mapping[str, Any] | None:
        """An authorization as it is now; None when there is none."""
        self.pass_time()
        found = self._authorization(reference)
        return found._asdict() if found else None

    def page(self, after: int, limit: int) -> list[Mapping[str, Any]]:
        """At most so many operations that were done at some time, as they are now, from behind a number on."""
        self.pass_time()
        return [_entry(row) for row in self._sql.execute(_PAGE, (after, limit))]

    def pass_time(self) -> None:
        """Lets authorizations expire and refunds fail whose time has come."""
        now = self._clock.now()
        if now < self.next_at:
            return
        with self._store.transaction():
            for reference, token in self._sql.execute(_EXPIRE, (now,)).fetchall():
                row = self._sql.execute(_EXPIRED, (EXPIRED, reference)).fetchone()
                self._tell(row, self._script(row["id"], "authorize", token))
            for row in self._sql.execute(_FAIL, (now,)).fetchall():
                self._update(row["reference"], "refunded_minor = refunded_minor - ?", row["done_minor"])
                authorization = self._authorization(row["reference"])
                assert authorization is not None, "a refund is of an authorization"
                self._tell(row, self._script(row["id"], "refund", authorization.token))
        self.next_at = self._next_at()

    def _known(self, asked: Asked) -> Row | None:
        row: Row | None = self._sql.execute(_OPERATION, (asked.id,)).fetchone()
        if row and row["asked"] != asked.as_text():
            raise KeyReused
        return row

    def _carry_out(self, asked: Asked, found: Authorization | None, script: CardScript) -> Row:
        code = script.decline or refusal(asked, found)
        reference = found.reference if found else None
        done_minor = fails_at = None
        if code is None:
            reference, done_minor = self._do(asked, found, script)
            if script.fails_s is not None:
                fails_at = self._clock.now() + script.fails_s
                self.next_at = min(self.next_at, fails_at)
        values = (asked.id, asked.kind, asked.as_text(), reference, done_minor, code, fails_at)
        row: Row = self._sql.execute(_ADD, values).fetchone()
        return row

    def _do(self, asked: Asked, found: Authorization | None, script: CardScript) -> tuple[str, int]:
        """Which authorization it is of, and for how much it is done."""
        amount_minor = asked.amount_minor or 0
        if found is None:
            return self._authorize(asked, max(1, amount_minor * script.percent // 100), script.expires_s)
        if asked.kind == "capture":
            self._update(found.reference, "captured_minor = captured_minor + ?", amount_minor)
        elif asked.kind == "refund":
            self._update(found.reference, "refunded_minor = refunded_minor + ?", amount_minor)
        else:
            amount_minor = found.held_minor
            self._update(found.reference, "state = ?", "voided")
        return found.reference, amount_minor

    def _authorize(self, asked: Asked, amount_minor: int, expires_s: float) -> tuple[str, int]:
        # Says nothing of what it is made of, and is the same in every run.
        reference = f"auth_{hashlib.sha256(asked.id.encode()).hexdigest()[:20]}"
        expires_at = self._clock.now() + expires_s
        opened = Authorization(
            *(reference, asked.order_id or "", asked.currency or "", asked.token or "", amount_minor),
            *(0, 0, "open", expires_at),
        )
        self._sql.execute("INSERT INTO authorization VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", opened)
        self.next_at = min(self.next_at, expires_at)
        return reference, amount_minor

    def _authorization(self, reference: str | None) -> Authorization | None:
        sql = "SELECT * FROM authorization WHERE reference = ?"
        row = self._sql.execute(sql, (reference,)).fetchone() if reference else None
        return Authorization(*row) if row else None

    def _update(self, reference: str, change: str, value: object) -> None:
        self._sql.execute(f"UPDATE authorization SET {change} WHERE reference = ?", (value, reference))

    def _script(self, operation_id: str, kind: Kind, token: str, reference: str | None = None) -> CardScript:
        """That of the key, or else of the card."""
        card = card_of(token)
        script = self._scripts.find(operation_id, kind) or (card.scripts.get(kind) if card else None) or _ORDINARY
        if script.first is None:
            return script
        sql = "SELECT count(*) FROM operation WHERE reference = ? AND kind = ? AND id <> ?"
        [before] = self._sql.execute(sql, (reference, kind, operation_id)).fetchone()
        return script if before < script.first else _ORDINARY

    def _tell(self, row: Row, script: CardScript) -> Sequence[int]:
        now = self._clock.now()
        return self._outbox.tell({"operation": _operation(row)}, [now + seconds for seconds in script.webhooks])

    def _next_at(self) -> float:
        [moment] = self._sql.execute(_NEXT).fetchone()
        return math.inf if moment is None else moment


def refusal(asked: Asked, found: Authorization | None) -> str | None:
    """Why an operation is not done; None when it is."""
    amount_minor = asked.amount_minor or 0
    if asked.kind == "authorize":
        return None if card_of(asked.token or "") else "invalid_token"
    if found is None:
        return "unknown_authorization"
    if asked.kind == "refund":
        return "exceeds_captured" if amount_minor > found.captured_minor - found.refunded_minor else None
    if found.state != "open":
        return found.state
    if asked.kind == "void":
        return None if found.held_minor else "nothing_held"
    return "exceeds_authorization" if amount_minor > found.held_minor else None


def _operation(row: Row) -> Mapping[str, Any]:
    is_done = row["code"] is None
    return {
        "id": row["id"],
        "kind": row["kind"],
        "status": "succeeded" if is_done else "failed",
        "amount_minor": row["done_minor"] if is_done else 0,
        "authorization": row["reference"],
        "code": row["code"],
    }


def _entry(row: Row) -> Mapping[str, Any]:
    more = {name: row[name] for name in ("number", "order_id", "currency")}
    return {**_operation(row), **more, "was_done_minor": row["done_minor"]}
