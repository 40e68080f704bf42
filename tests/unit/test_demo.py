"""What the demo's customers and staff do, without a stack."""

from collections import Counter
from typing import Any

import pytest

from demo.cards import OF_A_THOUSAND, good, mixed
from demo.placing import CARD
from demo.provider.cards import card_of
from demo.staff import Job, parcel_jobs, return_jobs

ORDER = "order-1"


def parcels(**shipment: Any) -> dict[str, Any]:
    return {"order_id": ORDER, "shipments": [{"number": 2, "tracking": None, **shipment}]}


def test_the_same_order_is_paid_for_with_the_same_card_in_every_run() -> None:
    keys = [f"journey-{number}" for number in range(2_000)]
    cards = [mixed(key) for key in keys]
    assert cards == [mixed(key) for key in keys]
    counted = Counter(cards)
    assert {CARD, *(token for token, number in OF_A_THOUSAND.items() if number >= 4)} <= counted.keys() <= {CARD, *OF_A_THOUSAND}
    assert counted[CARD] > 0.85 * len(keys)
    assert {good(key) for key in keys} == {CARD}


def test_all_cards_are_ones_that_the_provider_knows() -> None:
    assert [token for token in OF_A_THOUSAND if card_of(token) is None] == []


@pytest.mark.parametrize(
    ("shipment", "commands"),
    [
        ({"status": "planned"}, ["pack"]),
        ({"status": "packed"}, []),
        ({"status": "held"}, []),
        ({"status": "ready"}, []),
        ({"status": "ready", "tracking": "MC1"}, ["dispatch"]),
        ({"status": "dispatched", "tracking": "MC1"}, []),
    ],
)
def test_staff_packs_what_is_planned_and_hands_over_what_is_paid_for_and_labelled(
    shipment: dict[str, Any], commands: list[str]
) -> None:
    paths = [f"/v1/fulfilments/{ORDER}/shipments/2/{command}" for command in commands]
    assert [job.path for job in parcel_jobs(parcels(**shipment))] == paths


@pytest.mark.parametrize(
    ("status", "step"), [("requested", "approve"), ("approved", "receive"), ("received", "accept"), ("accepted", None), ("refunded", None)]
)
def test_staff_has_a_return_go_on_until_it_is_accepted(status: str, step: str | None) -> None:
    row = {"order_id": ORDER, "returns": [{"number": 1, "status": status}]}
    body = b'{"restock":true}' if step == "accept" else b""
    assert [*return_jobs(row)] == ([Job(f"/v1/returns/{ORDER}/1/{step}", body)] if step else [])
