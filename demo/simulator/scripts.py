"""How a company is to behave, beside what it does anyway: by the beginning of a key, for one kind of call or for all."""

from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from demo.simulator.store import Store

Seconds = Annotated[float, Field(ge=0, le=10**9)]
_MOST_WEBHOOKS = 10


class Script(BaseModel):
    """What goes wrong with a call, whatever it is about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: So many times it is answered by 500, and nothing is done.
    errors: int = Field(default=0, ge=0)
    #: So many times after that it is done, and the connection is closed instead of an answer.
    drops: int = Field(default=0, ge=0)
    #: It is done at once, and answered so late.
    delay_s: Seconds = 0.0
    #: After how many seconds each what has become of it is told: at once, unless this says otherwise; () never.
    webhooks: tuple[Seconds, ...] = Field(default=(0.0,), max_length=_MOST_WEBHOOKS)


_Script = TypeVar("_Script", bound=Script)


class Scripts(Generic[_Script]):
    """Those that were given to a company, which it keeps."""

    def __init__(self, store: Store, model: type[_Script]) -> None:
        self._store = store
        rows = store.sql.execute("SELECT prefix, kind, script FROM script")
        self._found = {(row["prefix"], row["kind"]): model.model_validate_json(row["script"]) for row in rows}

    def give(self, prefix: str, kind: str, script: _Script) -> None:
        """Instead of the one that was for this prefix and kind. The kind "" is any."""
        with self._store.transaction():
            values = (prefix, kind, script.model_dump_json())
            self._store.sql.execute("INSERT OR REPLACE INTO script VALUES (?, ?, ?)", values)
        self._found[prefix, kind] = script

    def find(self, key: str, kind: str) -> _Script | None:
        """That of the longest prefix; of two, the one for just this kind."""
        if not self._found:
            return None
        places = ((key[:end], each) for end in range(len(key), -1, -1) for each in (kind, ""))
        return next((self._found[place] for place in places if place in self._found), None)

    def tried(self, key: str) -> int:
        """How often this was asked for, with this time. In a transaction of the caller's."""
        sql = "INSERT INTO tries VALUES (?, 1) ON CONFLICT DO UPDATE SET number = number + 1 RETURNING number"
        [number] = self._store.sql.execute(sql, (key,)).fetchone()
        return int(number)
