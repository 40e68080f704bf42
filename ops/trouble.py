"""What stands still, or soon will, in words for whoever has to know."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


@dataclass(frozen=True)
class Trouble:
    """Something that stands still; or, unless `still`, something that needs attention before it does.

    `what` names it, the same for as long as it lasts; `since` is when that was first seen, if it is known.
    """

    what: str
    why: str
    since: datetime | None = None
    still: bool = True

    def sentence(self, now: datetime) -> str:
        """All of it: "The relay has stood still for 2 min: its task is FAILED: ..."."""
        subject = self.what[:1].upper() + self.what[1:]
        if self.since is None:
            return f"{subject} {'stands still' if self.still else 'needs attention'}: {self.why}"
        lasted = _span((now - self.since).total_seconds())
        return f"{subject} has {'stood still' if self.still else 'needed attention'} for {lasted}: {self.why}"

    def as_json(self, now: datetime) -> dict[str, Any]:
        """For `--json`."""
        since = self.since.isoformat() if self.since else None
        return {**asdict(self), "since": since, "sentence": self.sentence(now)}


def unknown(name: str, reason: str) -> Trouble:
    """That it can't be told whether something stands still."""
    return Trouble(f"the state of {name}", f"it is not known: {reason}", still=False)


def verdict(troubles: Sequence[Trouble], now: datetime) -> str:
    """One sentence: whether anything stands still, and since when; the rest only by number."""
    if not troubles:
        return "Nothing stands still."
    first = min(troubles, key=lambda trouble: (not trouble.still, trouble.since or now))
    others = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
    return f"{first.sentence(now)}{others}"


def _span(seconds: float) -> str:
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
