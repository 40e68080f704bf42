"""The cards with which the demo's customers pay: most are good, and the others do what docs/payments.md says of them."""

from random import Random
from typing import Final

from demo.placing import CARD

#: Of a thousand orders, how many are paid for by which other card.
OF_A_THOUSAND: Final = {
    "tok_declined": 15,
    "tok_insufficient_funds": 10,
    "tok_expired_card": 4,
    "tok_stolen_card": 1,
    "tok_partial": 2,
    "tok_slow": 5,
    "tok_too_slow": 1,
    "tok_dropped": 10,
    "tok_all_dropped": 5,
    "tok_errors": 5,
    "tok_webhooks_twice": 20,
    "tok_webhooks_first": 20,
    "tok_webhooks_late": 5,
    "tok_webhooks_disordered": 5,
    "tok_webhooks_none": 5,
}
_TOKENS, _SHARES = [CARD, *OF_A_THOUSAND], [1_000 - sum(OF_A_THOUSAND.values()), *OF_A_THOUSAND.values()]


def mixed(key: str) -> str:
    """The card of the order with this key: the same in every run."""
    [token] = Random(key).choices(_TOKENS, _SHARES)
    return token


def good(key: str) -> str:
    """A card that pays for anything."""
    return CARD
