"""What has to agree over services: each rule finds its own fault, and nothing in a life that went well."""

from typing import Any

import pytest

from ops.balance import LINES, Books

ORDER = "order-1"


def operation(number: int, kind: str, amount_minor: int, state: str = "succeeded", **more: Any) -> dict[str, Any]:
    known = {"operation_id": f"{ORDER}.{number}", "kind": kind, "amount_minor": amount_minor, "state": state}
    return {**known, "currency": "USD", "code": None, **more}


def delivered() -> Books:
    """An order of two units for 300, of which one came back."""
    paid = [operation(1, "authorize", 300), operation(2, "capture", 300), operation(3, "refund", 150)]
    return Books(
        due={"version": 5, "status": "completed", "due_minor": 150, "given_up_minor": 150, "deadlines": []},
        money={"version": 4, "operations": paid, "written_off_minor": 0, "cases": 0, "asked": None, "tasks": []},
        parcels={
            "version": 4,
            "shipments": [{"number": 1, "status": "delivered", "amount_minor": 300, "units": [{"sku": "milk", "quantity": 2}]}],
            "cases": 0,
            "deadlines": [],
            "tasks": [],
        },
        reserved={"version": 2, "lines": [{"sku": "milk", "reserved": 2, "released": 0, "consumed": 2}]},
        ledger=[dict(each) for each in paid],
    )


def differing(books: Books) -> dict[str, dict[str, tuple[Any, Any]]]:
    """By line and key, the fields that differ."""
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for name, rule in LINES.items():
        for _, expected, actual in rule(ORDER, books):
            for field in (expected or {}).keys() | (actual or {}).keys():
                sides = (expected or {}).get(field), (actual or {}).get(field)
                if sides[0] != sides[1]:
                    found.setdefault(name, {})[field] = sides
    return found


def test_an_order_that_went_well_differs_nowhere() -> None:
    assert differing(delivered()) == {}
    assert {name for name, rule in LINES.items() if [*rule(ORDER, delivered())]} == {*LINES} - {"goods.stock"}


def test_what_only_the_provider_has_done_is_found() -> None:
    books = delivered()
    books.ledger.append(operation(4, "capture", 10))
    assert differing(books)["money.ledger"]["kind"] == (None, "capture")


def test_what_the_provider_has_not_done_is_found() -> None:
    books = delivered()
    books.ledger.pop()
    assert differing(books)["money.ledger"]["amount_minor"] == (150, None)


def test_a_refund_that_the_provider_says_has_failed_since_is_found() -> None:
    books = delivered()
    books.ledger[2] |= {"state": "failed", "code": "refund_failed"}
    assert "money.ledger" in differing(books)


def test_an_authorization_that_expired_was_done() -> None:
    books = delivered()
    books.ledger[0] |= {"state": "failed", "code": "expired"}
    assert differing(books) == {}


@pytest.mark.parametrize("state", ["unknown", "disputed"])
def test_of_what_nobody_knows_nothing_is_said(state: str) -> None:
    books = delivered()
    books.operations[1]["state"] = state
    assert "money.ledger" not in differing(books)


def test_what_somebody_has_ruled_counts_whatever_the_provider_says() -> None:
    """As a refund that fails there again and again, and was sent by hand at last."""
    books = delivered()
    books.operations[2]["code"] = "ruled"
    books.ledger[2] |= {"state": "failed", "code": "refund_failed"}
    assert differing(books) == {}


def test_what_is_asked_for_now_may_be_done_already() -> None:
    books = delivered()
    assert books.money
    books.money["asked"] = f"{ORDER}.4"
    books.ledger.append(operation(4, "refund", 150))
    assert differing(books) == {}


def test_what_a_final_order_owes_is_what_was_paid() -> None:
    books = delivered()
    assert books.due
    books.due["due_minor"] = 200
    assert differing(books)["money.due"] == {"paid_minor": (200, 150)}


def test_an_open_order_may_have_paid_less_and_never_more() -> None:
    books = delivered()
    assert books.due
    books.due |= {"status": "confirmed", "due_minor": 200}
    assert "money.due" not in differing(books)
    books.due["due_minor"] = 100
    assert differing(books)["money.due"] == {"paid_minor": (100, 150)}


@pytest.mark.parametrize("busy", [{"asked": f"{ORDER}.4"}, {"tasks": ["operation"]}, {"cases": 1}])
def test_money_that_moves_or_waits_for_a_person_may_differ_from_what_is_due(busy: dict[str, Any]) -> None:
    books = delivered()
    assert books.due
    assert books.money
    books.due["due_minor"] = 0
    books.money |= busy
    assert "money.due" not in differing(books)


def test_more_is_captured_than_was_held() -> None:
    books = delivered()
    books.operations[0]["amount_minor"] = 299
    assert differing(books)["money.due"] == {"captured_minor": (299, 300)}


def test_more_is_given_back_than_was_captured() -> None:
    books = delivered()
    assert books.due
    books.due["due_minor"] = -1
    books.operations[2]["amount_minor"] = 301
    assert differing(books)["money.due"] == {"refunded_minor": (300, 301)}


def test_more_is_sent_than_is_paid_for() -> None:
    books = delivered()
    assert books.due
    books.due["given_up_minor"] = 0
    books.parcels["shipments"][0]["amount_minor"] = 301  # type: ignore[index]
    assert differing(books)["money.due"] == {"sent_minor": (300, 301)}


def test_what_was_sent_has_left_the_stock() -> None:
    books = delivered()
    books.reserved["lines"][0] |= {"released": 1, "consumed": 1}  # type: ignore[index]
    assert differing(books)["goods.sent"] == {"sent": (2, 1)}


def test_of_a_final_order_nothing_stays_reserved() -> None:
    books = delivered()
    books.reserved["lines"][0]["reserved"] = 3  # type: ignore[index]
    assert differing(books)["goods.sent"] == {"left": (0, 1)}


def test_more_units_are_free_or_gone_than_were_reserved() -> None:
    books = delivered()
    assert books.due
    books.due["status"] = "confirmed"
    books.reserved["lines"][0]["released"] = 1  # type: ignore[index]
    assert differing(books)["goods.sent"] == {"left": (0, -1)}


def test_a_product_has_reserved_what_orders_have_reserved() -> None:
    assert differing(Books(stock={"version": 3, "reserved": 5, "promised": 4})) == {"goods.stock": {"reserved": (4, 5)}}


@pytest.mark.parametrize(
    ("book", "holds"),
    [
        ("due", {"deadlines": ["pay_by"]}),
        ("money", {"tasks": ["operation"]}),
        ("money", {"cases": 1}),
        ("parcels", {"deadlines": ["arrive_by"]}),
        ("parcels", {"shipments": [{"number": 1, "status": "planned", "amount_minor": 300, "units": []}]}),
    ],
)
def test_an_open_order_waits_for_something_that_exists(book: str, holds: dict[str, Any]) -> None:
    books = delivered()
    assert books.due
    books.due["status"] = "confirmed"
    assert differing(books)["order.waiting"]["waits_for"][1] == "nothing"
    getattr(books, book).update(holds)
    assert "order.waiting" not in differing(books)


def test_what_moves_meanwhile_does_not_stand_still() -> None:
    """Both rows of everything tell the versions that they are made of."""
    books = delivered()
    for name, rule in LINES.items():
        assert all("at" in (pair.expected or {}) and "at" in (pair.actual or {}) for pair in rule(ORDER, books)), name
