"""What the demo's customers and staff do, without a stack."""

import json
from collections import Counter
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from demo.after import Ended
from demo.cards import OF_A_THOUSAND, good, mixed
from demo.load import Loaded
from demo.placing import CARD
from demo.provider.cards import card_of
from demo.show import Shown, print_summary
from demo.staff import Job, parcel_jobs, return_jobs
from ops.verify import Difference, Verified

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


def shown(*differences: Difference) -> Shown:
    loaded = Loaded(3, 1, 1, 1, 0, 0, 0, 2, 1.0, 3.0, {"p50": 1.0}, {"p50": 2.0}, {"p50": 3.0})
    ended = Ended([("cancelled", "card_declined", 1), ("completed", "", 2)], {"fulfilment: held": 2})
    verified = Verified({"money.due": 3}, Counter(each.consumer for each in differences), [*differences])
    return Shown(loaded, {"pack": 7}, ended, {"staff": 5}, verified, {}, {"GROCERY": 1_234}, 60.0)


def test_what_became_of_all_orders_and_why_is_told() -> None:
    said = StringIO()
    print_summary(Console(file=said, width=200), shown())
    lines = [" ".join(line.split()) for line in said.getvalue().splitlines()]
    assert {"cancelled card_declined 1", "completed 2", "needs a person 2 fulfilment: held", "open orders wait for 5 staff"} <= {*lines}
    assert "money and goods all agree" in lines
    told = json.loads(json.dumps(shown().as_json()))
    assert told["states"][0] == {"status": "cancelled", "reason": "card_declined", "orders": 1}
    assert (told["waiting_for"], told["cases"], told["staff"]) == ({"staff": 5}, {"fulfilment: held": 2}, {"pack": 7})


def test_money_that_differs_is_not_proven() -> None:
    said = StringIO()
    differing = shown(Difference("money.due", ORDER, "paid_minor", 300, 200))
    print_summary(Console(file=said, width=300), differing)
    assert "'money.due': 1" in said.getvalue()
    assert shown().is_proven
    assert not differing.is_proven
