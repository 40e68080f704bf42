"""The rules of orders: given an order, when a command comes, then this event, or none, or a refusal."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.orders import rules
from api.orders.rules import Line, Order, Price
from kernel.context import Context
from kernel.limits import MAX_NUMBER
from kernel.refusals import Conflict, Invalid, Refused, Unknown
from schemas.order import OrderEvent, OrderStatus
from tests.events import START
from tests.unit.contexts import context

PRICES = {
    "milk": Price(1, "Milk", "GROCERY", "DAIRY", "National", 150, "USD"),
    "wine": Price(1, "Wine", "GROCERY", "WINE", "Private", 999, "EUR"),
    "bread": Price(1, "Bread", "GROCERY", "BREAD", "Private", 275, "USD"),
}
ORDER = Order("order", 1, "placed", "7", START, "USD", 725, 2)


def errors_of(lines: list[Line], prices: dict[str, Price] = PRICES) -> list[tuple[str, str]]:
    with pytest.raises(Invalid) as refused:
        rules.place("order", "7", lines, prices, context())
    return [(error.field, error.message) for error in refused.value.errors]


def test_an_order_is_placed_at_the_prices_of_now() -> None:
    event = rules.place("order", "7", [Line("milk", 3), Line("bread", 1)], PRICES, context())
    assert (event.type, event.key, event.version) == ("OrderPlaced", "order", 1)
    assert (event.data["total_minor"], event.data["currency"]) == (725, "USD")
    assert (event.data["customer_id"], event.data["placed_at"]) == ("7", START)
    assert event.data["lines"][0] == {
        "sku": "milk",
        "name": "Milk",
        "department": "GROCERY",
        "category": "DAIRY",
        "brand": "National",
        "quantity": 3,
        "unit_price_minor": 150,
    }


def test_every_line_that_cannot_be_ordered_is_named() -> None:
    lines = [Line("milk", 1), Line("gold", 1), Line("milk", 2), Line("wine", 1)]
    assert errors_of(lines) == [
        ("lines.1.sku", "there is no product gold to order"),
        ("lines.2.sku", "milk is in line 0 already: add their quantities up"),
        ("lines.3.sku", "wine is priced in EUR, lines before it in USD"),
    ]


def test_a_total_that_cannot_be_counted_is_refused() -> None:
    dear = PRICES | {"milk": PRICES["milk"]._replace(price_minor=MAX_NUMBER // 2)}
    assert rules.place("order", "7", [Line("milk", 2)], dear, context()).data["total_minor"] == MAX_NUMBER - 1
    assert errors_of([Line("milk", 3)], dear)[0][0] == "lines"


def test_what_follows_carries_all_that_readers_need() -> None:
    event = rules.reject(ORDER, "not enough stock", context())
    assert event is not None
    assert event.data == {
        "order_id": "order",
        "customer_id": "7",
        "placed_at": START,
        "currency": "USD",
        "total_minor": 725,
        "line_count": 2,
        "reason": "not enough stock",
    }


def confirm(order: Order, context: Context) -> OrderEvent | None:
    return rules.confirm(order, context)


def reject(order: Order, context: Context) -> OrderEvent | None:
    return rules.reject(order, "not enough stock", context)


def expire(order: Order, context: Context) -> OrderEvent | None:
    return rules.expire(order, context)


def cancel(order: Order, context: Context) -> OrderEvent | None:
    return rules.cancel(order.id, order, None, context)


@pytest.mark.parametrize(
    ("command", "status", "then"),
    [
        (confirm, "placed", "confirmed"),
        (confirm, "confirmed", None),
        (confirm, "rejected", None),
        (confirm, "cancelled", None),
        (reject, "placed", "rejected"),
        (reject, "confirmed", None),
        (reject, "rejected", None),
        (reject, "cancelled", None),
        (expire, "placed", "cancelled"),
        (expire, "confirmed", None),
        (expire, "rejected", None),
        (expire, "cancelled", None),
        (cancel, "placed", "cancelled"),
        (cancel, "confirmed", "cancelled"),
        (cancel, "cancelled", None),
    ],
)
def test_an_order_goes_only_where_it_may(
    command: Callable[[Order, Context], OrderEvent | None], status: OrderStatus, then: OrderStatus | None
) -> None:
    order = ORDER._replace(status=status)
    event = command(order, context())
    assert (rules.evolve(order, event).status if event else None) == then


def test_a_rejected_order_cannot_be_cancelled_nor_one_that_does_not_exist() -> None:
    with pytest.raises(Conflict):
        rules.cancel("order", ORDER._replace(status="rejected"), None, context())
    with pytest.raises(Unknown):
        rules.cancel("order", None, None, context())


@given(st.lists(st.sampled_from([confirm, reject, expire, cancel])))
def test_versions_are_contiguous_and_a_final_state_stays(
    commands: list[Callable[[Order, Context], OrderEvent | None]],
) -> None:
    order = ORDER
    for command in commands:
        try:
            event = command(order, context())
        except Refused:
            continue
        if event:
            assert order.status not in ("rejected", "cancelled")
            assert event.version == order.version + 1
            order = rules.evolve(order, event)
