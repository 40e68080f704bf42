"""The provider's test cards are published as they are."""

from api.payments.provider import Kind
from demo.carrier.parcels import ParcelScript
from demo.provider.cards import CARDS, CardScript, card_of, token_of
from local.layout import ROOT

PUBLISHED = (ROOT / "docs" / "payments.md").read_text()
KINDS: tuple[Kind, ...] = ("authorize", "capture", "void", "refund")


def test_the_table_of_test_cards_is_that_of_the_code() -> None:
    found = [line for line in PUBLISHED.splitlines() if "`tok_" in line]
    numbers = [" ".join(card.number[start : start + 4] for start in range(0, 16, 4)) for card in CARDS]
    expected = [f"| {number} | `{card.token}` | {card.meaning} |" for number, card in zip(numbers, CARDS, strict=True)]
    assert found == expected


def test_every_field_of_a_script_is_told() -> None:
    for field in {**CardScript.model_fields, **ParcelScript.model_fields}:
        assert f"| `{field}` |" in PUBLISHED


def test_every_card_has_a_number_and_a_token_of_its_own() -> None:
    assert len({card.number for card in CARDS}) == len({card.token for card in CARDS}) == len(CARDS)
    for card in CARDS:
        assert token_of(card.number) == card.token
        assert card_of(card.token) is card


def test_what_is_no_test_card_is_approved_and_does_nothing_strange() -> None:
    token = token_of("5555555555554444")
    assert token == "tok_approved"
    card = card_of(token)
    assert card is not None
    assert not any(kind in card.scripts for kind in KINDS)
