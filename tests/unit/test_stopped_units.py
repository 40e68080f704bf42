"""Nothing is charged for units that were stopped, whoever is heard of first."""

from contextlib import closing

import pytest

from api.shipping import rules
from tests.lives import DAY, Shop


def test_nothing_is_captured_for_units_that_were_stopped_though_shipping_is_heard_of_before_the_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "MOST_LINES", 1)  # two parcels
    with closing(Shop()) as shop:
        order_id = shop.place({"milk": 1, "bread": 1})
        shop.settle()
        shop.pack(order_id, 1)
        shop.settle()
        shop.dispatch(order_id, 1)
        shop.settle()
        shop.cancel(order_id, {"bread": 1})
        [shipments] = [each for each in shop.readers if each.reaction.name == "payments.shipments"]
        [stops] = [each for each in shop.readers if each.reaction.name == "shipping.orders"]
        shop.read(stops, 100)
        shop.read(shipments, 100)
        payment = shop.payment(order_id)
        assert payment
        assert [each["kind"] for each in payment["operations"]] == ["authorize", "capture"]
        assert shop.payments.tasks == {}
        shop.settle()
        shop.pass_time(2 * DAY)
        shop.settle()
        shop.check()
        payment = shop.payment(order_id)
        assert payment
        assert [each["kind"] for each in payment["operations"]] == ["authorize", "capture", "void"]
