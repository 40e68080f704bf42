"""The provider's test cards: what each of them does. They are published in docs/payments.md."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from demo.simulator.scripts import Script, Seconds

#: What can be asked of the provider.
Kind = Literal["authorize", "capture", "void", "refund"]

DAY_S = 86_400.0
_TOKEN = "tok_"  # noqa: S105  the beginning of all of them
_NUMBER = re.compile(r"[0-9]{12,19}")


class CardScript(Script):
    """How an operation ends, beside what goes wrong with its call."""

    #: A definite no, with this code.
    decline: str | None = Field(default=None, pattern=r"^[a-z_]{1,60}$")
    #: An authorization is for so much of what was asked.
    percent: Annotated[int, Field(ge=1, le=100)] = 100
    #: After how long what an authorization holds is let go.
    expires_s: Seconds = 7 * DAY_S
    #: After how long a refund that was done turns out not to be.
    fails_s: Seconds | None = None
    #: What becomes of it is told before it is answered.
    webhook_first: bool = False
    #: It is for the first so many operations of its kind of an authorization; None: for all.
    first: int | None = Field(default=None, ge=1)


class Card(NamedTuple):
    """A test card. Its token is made of its name."""

    number: str
    name: str
    meaning: str
    scripts: Mapping[Kind, CardScript]

    @property
    def token(self) -> str:
        """What its number is for us."""
        return _TOKEN + self.name


def _every(script: CardScript) -> Mapping[Kind, CardScript]:
    return {"authorize": script, "capture": script, "void": script, "refund": script}


def _declined(code: str) -> Mapping[Kind, CardScript]:
    return {"authorize": CardScript(decline=code)}


CARDS = (
    Card("4242424242424242", "approved", "all is done", {}),
    Card("4000000000000002", "declined", "the authorization is declined: `card_declined`", _declined("card_declined")),
    Card("4000000000009995", "insufficient_funds", "declined: `insufficient_funds`", _declined("insufficient_funds")),
    Card("4000000000000069", "expired_card", "declined: `expired_card`", _declined("expired_card")),
    Card("4000000000009979", "stolen_card", "declined: `stolen_card`", _declined("stolen_card")),
    Card("4000000000000010", "partial", "the authorization is for half of what was asked", {"authorize": CardScript(percent=50)}),
    Card("4000000000000028", "slow", "the authorization is done at once, and answered after 3 s", {"authorize": CardScript(delay_s=3)}),
    Card("4000000000000036", "too_slow", "every operation is done at once, and answered after 20 s", _every(CardScript(delay_s=20))),
    Card("4000000000000044", "dropped", "the authorization is done, and the first answer is lost", {"authorize": CardScript(drops=1)}),
    Card("4000000000000051", "all_dropped", "of every operation the first answer is lost", _every(CardScript(drops=1))),
    Card("4000000000000077", "errors", "every operation is answered twice by 500, and then done", _every(CardScript(errors=2))),
    Card("4000000000000085", "webhooks_twice", "what becomes of every operation is told twice", _every(CardScript(webhooks=(0, 0)))),
    Card("4000000000000093", "webhooks_late", "it is told after 30 s", _every(CardScript(webhooks=(30,)))),
    Card("4000000000000101", "webhooks_first", "it is told before it is answered", _every(CardScript(webhook_first=True))),
    Card("4000000000000119", "webhooks_disordered", "of the authorization it is told after 10 s: after what follows it",
         {"authorize": CardScript(webhooks=(10,))}),
    Card("4000000000000127", "webhooks_none", "it is never told", _every(CardScript(webhooks=()))),
    Card("4000000000000135", "expires", "the authorization expires after 10 s, which is told", {"authorize": CardScript(expires_s=10)}),
    Card("4000000000000143", "expires_silently", "it expires after 10 s, which is not told: then a void is refused",
         {"authorize": CardScript(expires_s=10, webhooks=())}),
    Card("4000000000000150", "capture_declined", "every capture is declined: `card_declined`", {"capture": CardScript(decline="card_declined")}),
    Card("4000000000000168", "refund_errors", "every refund is answered five times by 500, and then done", {"refund": CardScript(errors=5)}),
    Card("4000000000000176", "refund_fails", "the first refund of an authorization fails three days later: `refund_failed`",
         {"refund": CardScript(fails_s=3 * DAY_S, first=1)}),
    Card("4000000000000184", "refunds_fail", "every refund does", {"refund": CardScript(fails_s=3 * DAY_S)}),
)

_BY_NUMBER = {card.number: card for card in CARDS}
_BY_TOKEN = {card.token: card for card in CARDS}


def token_of(number: str) -> str | None:
    """The token for a card's number; None when there is no such number. What is no test card is approved."""
    if not _NUMBER.fullmatch(number) or not _adds_up(number):
        return None
    return _BY_NUMBER.get(number, CARDS[0]).token


def card_of(token: str) -> Card | None:
    """The card behind a token."""
    return _BY_TOKEN.get(token)


def _adds_up(number: str) -> bool:
    """Luhn's check of a card's number."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[0::2]) + sum(doubled)) % 10 == 0
