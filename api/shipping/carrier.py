"""What shipping needs of a carrier. One module a carrier: simulated.py is the one that there is."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple, Protocol


class Booked(NamedTuple):
    """A label for a parcel: its number, and after how many days it should be there, from being handed over."""

    tracking: str
    days: int


class Scan(NamedTuple):
    """What the carrier says has become of a parcel. `id` is the same when it tells it again."""

    id: str
    tracking: str
    what: Literal["delivered", "lost"]
    at: datetime


class Carrier(Protocol):
    """A carrier. `key` is of our own: the same call again has the same effect and answer.

    All but `parse_webhook` raise NoAnswer when nobody knows whether it was done, and NotTried when it was not even asked.
    """

    def book(self, key: str, reference: str) -> Booked:
        """Has a label made. `reference` is our own name of the parcel. The carrier does not have it yet."""

    def hand_over(self, key: str, tracking: str) -> None:
        """The carrier has the parcel: its way begins."""

    def lookup(self, tracking: str) -> Scan | None:
        """The newest scan of a parcel; None when there is none."""

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Scan:
        """What the carrier has told us. Raises BadSignature, or Malformed when it is signed and can't be read."""
