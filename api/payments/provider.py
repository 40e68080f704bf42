"""What payments need of a provider. One module a provider: simulated.py is the one that there is.

An operation has an id of ours, which is the idempotency key: the same call again is the same operation, and has the same
outcome. A card number never comes here: the provider's page gives the customer a token for it.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

Kind = Literal["authorize", "capture", "void", "refund"]

#: Why an authorization that was done is not any more: its time was over.
EXPIRED = "expired"


class Outcome(NamedTuple):
    """What the provider says has become of one operation.

    `is_done` False is a definite no; `code` says why. `amount_minor` is for how much it was done: an authorization may be for
    less than was asked, and a void is for what was left; of a definite no it is 0. `reference` is the provider's own id of
    the authorization that the operation belongs to; None when there is none.
    """

    operation_id: str
    kind: Kind
    is_done: bool
    amount_minor: int
    reference: str | None
    code: str | None = None


class Webhook(NamedTuple):
    """What the provider tells by itself: the outcome of one operation, as it was then. `id` is the same when it comes again.

    A refund that failed later and an authorization that expired come as that operation, not done.
    """

    id: str
    outcome: Outcome


class Entry(NamedTuple):
    """One operation of the provider's ledger, with the order and the currency (ISO 4217) that it was for.

    `was_done_minor` is for how much it was done, whatever became of it later: of an authorization that expired, too.
    """

    order_id: str
    currency: str
    was_done_minor: int
    outcome: Outcome


class Provider(Protocol):
    """A provider of payments.

    All but `parse_webhook` raise NoAnswer when nobody knows whether it was done, and NotTried when it was not even asked.
    """

    def authorize(self, operation_id: str, order_id: str, amount_minor: int, currency: str, card_token: str) -> Outcome:
        """Holds an amount on a card. `currency` is of ISO 4217."""

    def capture(self, operation_id: str, reference: str, amount_minor: int) -> Outcome:
        """Takes a part of what an authorization holds, or all."""

    def void(self, operation_id: str, reference: str) -> Outcome:
        """Lets go what an authorization still holds. A definite no when it holds nothing any more."""

    def refund(self, operation_id: str, reference: str, amount_minor: int) -> Outcome:
        """Gives back a part of what was captured, or all."""

    def lookup(self, operation_id: str) -> Outcome | None:
        """What has become of an operation by now: of an authorization that expired, not done. None: it never came."""

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Webhook:
        """What the provider has told us. Raises BadSignature, or Malformed when it is signed and can't be read."""

    def ledger(self) -> Iterator[Entry]:
        """Every operation that was done at some time, as it is now, in the order in which they came."""
