"""Scenarios by which others' shops went wrong: each in many orders of arrival, with repeats, and always with the same end.

The numbers are those of docs/sagas.md.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import product
from math import factorial, prod
from typing import Any

import pytest

from api.payments import calls as payment_calls
from api.payments import rules as payment_rules
from api.payments.provider import Outcome
from api.shipping import rules as shipping_rules
from demo.provider.cards import CardScript
from kernel.aggregates import Kept
from kernel.refusals import Invalid, Refused, Unknown
from kernel.tasks import Answered
from schemas.event import Event
from tests.lives import DAY, PAY_WITHIN, Shop, merge

#: Orders in which all of a shop may happen that are tried of each scenario.
SCHEDULES = 40
SECOND, MOMENT = timedelta(seconds=1), timedelta(microseconds=1)

#: What somebody does, one after the other, beside all that happens.
Thread = Sequence[Callable[[Shop, str], Any]]
End = Mapping[str, Any]


@pytest.fixture
def a_parcel_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping_rules, "MOST_LINES", 1)


def end_of(shop: Shop, order_id: str) -> dict[str, Any]:
    """What has become of an order, of its money, its parcels and its stock."""
    order, payment = shop.order(order_id), shop.payment(order_id)
    return {
        "status": order["status"],
        "due": order["due_minor"],
        "paid": payment_rules.paid(payment) if payment else 0,
        "held": payment["authorized_minor"] if payment else 0,
        "parcels": [each["status"] for each in shop.parcels(order_id)],
        "returns": [each["status"] for each in shop.returned(order_id)],
        "stock": {sku: (item.on_hand, item.reserved) for sku, item in shop.inventory.stocks.items() if item.version > 1},
        "cases": sorted(case["kind"] for case in shop.cases(order_id)),
    }


def ends(begin: Callable[[Shop], str], *threads: Thread) -> Iterator[tuple[Shop, str, End]]:
    """What becomes of the order with which it begins: once for each order in which things happen."""
    for seed in range(SCHEDULES):
        shop = Shop()
        order_id = begin(shop)
        happen(shop, threads, order_id, random.Random(seed))
        shop.check()
        end = end_of(shop, order_id)
        for each in shop.readers:
            shop.again(each, 100)  # all of it comes once more
        shop.settle()
        assert end_of(shop, order_id) == end
        yield shop, order_id, end
        shop.close()


def happen(shop: Shop, threads: Sequence[Thread], order_id: str, dice: random.Random) -> None:
    """All that can happen, as the dice choose. A command that is refused comes again, as long as anything else happens."""
    left = [list(thread) for thread in threads if thread]
    refused: list[Any] = []  # since anything else has happened
    while (things := shop.things()) or len(refused) < len(left):
        thing: Any = dice.choice([*things, *(each for each in left if each not in refused)])
        if thing in left:
            try:
                thing[0](shop, order_id)
            except Refused:
                refused.append(thing)
                continue
            thing.pop(0)
            left = [each for each in left if each]
        else:
            if thing in shop.told:
                shop.told.remove(thing)
            thing()
            if dice.random() < 0.1:
                shop.again(dice.choice(shop.readers), 2)
        refused = []


def one(found: Iterator[tuple[Shop, str, End]]) -> End:
    """The one end that all of them have."""
    first, *others = [end for _, _, end in found]
    for other in others:
        assert other == first
    return first


def place(*, card: str = "tok_approved", is_settled: bool = True, **units: int) -> Callable[[Shop], str]:
    """An order, by default of one milk and one bread, which has gone as far as it goes by itself."""

    def begin(shop: Shop) -> str:
        order_id = shop.place(units or {"milk": 1, "bread": 1}, card)
        if is_settled:
            shop.settle()
        return order_id

    return begin


def pack(number: int = 1) -> Callable[[Shop, str], None]:
    return lambda shop, order_id: shop.pack(order_id, number)


def dispatch(number: int = 1) -> Callable[[Shop, str], None]:
    return lambda shop, order_id: shop.dispatch(order_id, number)


def scan(what: str, number: int = 1) -> Callable[[Shop, str], None]:
    return lambda shop, order_id: shop.scan(order_id, number, what)


def cancel(**units: int) -> Callable[[Shop, str], None]:
    return lambda shop, order_id: shop.cancel(order_id, units or None)


SENT = (pack(), dispatch(), scan("delivered"))


def ledger(shop: Shop, kind: str) -> list[int]:
    """The amounts of all operations of a kind that the provider has done."""
    return [entry.was_done_minor for entry in shop.provider.ledger() if entry.outcome.kind == kind]


def test_1_what_is_captured_after_the_cancel_is_refunded() -> None:
    for shop, _, end in ends(place(), (pack(), cancel())):
        assert (end["status"], end["due"], end["paid"], end["held"]) == ("cancelled", 0, 0, 0)
        assert sum(ledger(shop, "capture")) == sum(ledger(shop, "refund"))


@pytest.mark.parametrize("card", ["tok_dropped", "tok_all_dropped", "tok_too_slow", "tok_errors"])
def test_2_a_timeout_decides_nothing_and_an_operation_is_done_once(card: str) -> None:
    for shop, _, end in ends(place(card=card, is_settled=False), SENT):
        assert (end["status"], end["paid"]) == ("completed", 425)
        assert (ledger(shop, "authorize"), ledger(shop, "capture")) == ([425], [425])


@pytest.mark.parametrize("card", ["tok_webhooks_twice", "tok_webhooks_first", "tok_webhooks_none", "tok_webhooks_disordered"])
def test_3_webhooks_that_come_twice_or_first_or_never_change_nothing(card: str) -> None:
    plain = one(ends(place(is_settled=False), SENT))
    assert one(ends(place(card=card, is_settled=False), SENT)) == plain


def test_3_what_is_told_of_an_unknown_operation_is_kept() -> None:
    shop = Shop()
    shop.provider.authorize("01900000-0000-7000-8000-999999999999.1", "nobody's", 100, "USD", "tok_approved")
    shop.listen()
    [told] = shop.told
    told()
    assert len(shop.payments.told) == 1
    assert not shop.payments.published


def test_4_an_answer_that_comes_again_or_after_the_time_is_over_changes_nothing() -> None:
    def expire(shop: Shop, order_id: str) -> None:
        shop.pass_time(PAY_WITHIN)

    for shop, order_id, end in ends(place(), (expire, expire), SENT):
        assert end["status"] == "completed"
        before = shop.orders.orders.kept[order_id]
        for topic, hear in (("marea.reservation", "orders.reservations"), ("marea.payment", "orders.payments")):
            shop.hearing()[hear]([event._replace(id="another") for event in shop.topics[topic]])
        assert shop.orders.orders.kept[order_id].version == before.version


def test_5_a_parcel_is_sent_or_stopped_and_only_what_was_stopped_is_refunded() -> None:
    found = set()
    for shop, _, end in ends(place(), (pack(), dispatch()), (cancel(),)):
        is_sent = end["parcels"] == ["dispatched"]
        assert (end["status"], end["due"], end["paid"]) == (("confirmed", 425, 425) if is_sent else ("cancelled", 0, 0))
        assert sum(ledger(shop, "capture")) - sum(ledger(shop, "refund")) == end["paid"]
        found.add(is_sent)
    assert found == {True, False}, "both have happened"


@pytest.mark.parametrize("before", [MOMENT, -MOMENT])
def test_7_an_order_is_paid_for_or_too_late_and_never_both(before: timedelta) -> None:
    def expire(shop: Shop, order_id: str) -> None:
        shop.pass_time(PAY_WITHIN - before)

    found = set()
    for shop, _, end in ends(place(is_settled=False), (expire,)):
        found.add(end["status"])
        is_kept = end["status"] == "confirmed"
        assert end["held"] == (425 if is_kept else 0)
        assert end["stock"] == dict.fromkeys(end["stock"], (100, 1 if is_kept else 0))
        assert shop.orders.due == {}
    assert found == ({"confirmed"} if before > timedelta(0) else {"confirmed", "cancelled"})


def test_8_a_refund_that_fails_is_tried_until_it_is_done() -> None:
    def begin(shop: Shop) -> str:
        order_id = place(card="tok_refund_errors")(shop)
        shop.pack(order_id, 1)
        shop.settle()
        return order_id

    for shop, _, end in ends(begin, (cancel(),)):
        assert (end["status"], end["paid"], end["cases"]) == ("cancelled", 0, [])
        assert ledger(shop, "refund") == [425]


def test_8_a_refund_that_turns_out_to_have_failed_is_made_again() -> None:
    def begin(shop: Shop) -> str:
        order_id = place(card="tok_refund_fails")(shop)
        shop.pack(order_id, 1)
        shop.settle()
        return order_id

    end = one(ends(begin, (cancel(), lambda shop, _: shop.pass_time(4 * DAY))))
    assert (end["status"], end["paid"], end["cases"]) == ("cancelled", 0, [])


def sent(shop: Shop) -> str:
    """An order that has arrived."""
    order_id = place()(shop)
    for step in SENT:
        step(shop, order_id)
        shop.settle()
    return order_id


def test_9_an_exchange_whose_reactions_begin_anew_at_any_moment_comes_to_the_same() -> None:
    for seed in range(SCHEDULES):
        shop, dice = Shop(), random.Random(seed)
        order_id = sent(shop)
        exchange_id, new_id = shop.exchange(order_id, {"milk": 1}, {"bread": 2})
        for step in ("approve", "receive", "accept"):
            while things := shop.things():
                dice.choice(things)()
                shop.told.clear()
                if dice.random() < 0.1:
                    for reader in shop.readers:
                        shop.again(reader, dice.randrange(10))
            shop.go_on_with_return(order_id, 1, step)
        shop.settle(dice.choice)
        shop.check()
        [exchange] = shop.exchanged()
        assert exchange["exchange_id"] == exchange_id
        assert (exchange["step"], exchange["value_minor"], exchange["credit_minor"]) == ("finished", 150, 150)
        assert (shop.order(order_id)["due_minor"], shop.order(new_id)["due_minor"]) == (425, 400)
        assert ledger(shop, "authorize") == [425, 400]
        assert ledger(shop, "refund") == []
        shop.close()


def test_10_an_order_comes_to_the_same_end_in_whatever_order_all_happens() -> None:
    end = one(ends(place(is_settled=False), SENT))
    assert end == {
        "status": "completed",
        "due": 425,
        "paid": 425,
        "held": 0,
        "parcels": ["delivered"],
        "returns": [],
        "stock": {"milk": (99, 0), "bread": (99, 0)},
        "cases": [],
    }


def renewal_declined(shop: Shop) -> str:
    """Its authorization has expired after it was confirmed, and there will be no other on that card."""
    order_id = place(card="tok_expires")(shop)
    shop.provider.give(order_id, "authorize", CardScript(decline="card_declined"))
    shop.pass_time(11 * SECOND)
    return order_id


def pay_again(shop: Shop, order_id: str) -> None:
    if [each["status"] for each in shop.parcels(order_id)] != ["held"]:
        raise Unknown("not held yet")
    shop.provider.give(order_id, "authorize", CardScript())
    shop.change_card(order_id)


def test_13_a_parcel_is_held_when_the_authorization_has_expired_and_none_follows() -> None:
    end = one(ends(renewal_declined, (pack(),)))
    assert (end["status"], end["parcels"], end["paid"], end["cases"]) == ("confirmed", ["held"], 0, ["held"])


def test_13_and_goes_once_the_customer_has_paid_again() -> None:
    end = one(ends(renewal_declined, (pack(), pay_again, dispatch(), scan("delivered"))))
    assert (end["status"], end["paid"], end["held"], end["cases"]) == ("completed", 425, 0, [])


def test_13_or_is_stopped_when_the_customer_cancels_or_the_time_is_over() -> None:
    for give_up in (cancel(), lambda shop, _: shop.pass_time(4 * DAY)):
        end = one(ends(renewal_declined, (pack(),), (_held, give_up)))
        assert (end["status"], end["due"], end["paid"]) == ("cancelled", 0, 0)
        assert end["stock"] == {"milk": (100, 0), "bread": (100, 0)}


def _held(shop: Shop, order_id: str) -> None:
    """Nothing, once its parcel is held, and orders know."""
    if ("hold_by", order_id) not in shop.orders.due:
        raise Unknown("not held yet")


def test_14_where_nothing_is_to_be_paid_nobody_is_asked_and_nothing_waits() -> None:
    for shop, _, end in ends(place(gift=2, is_settled=False), SENT):
        assert (end["status"], end["paid"]) == ("completed", 0)
        assert list(shop.provider.ledger()) == []


def test_14_a_line_of_price_0_goes_with_the_others() -> None:
    assert one(ends(place(gift=1, milk=1, is_settled=False), SENT))["paid"] == 150


def cancel_bread_once_milk_is_gone(shop: Shop, order_id: str) -> None:
    if shop.parcels(order_id)[0]["status"] in ("planned", "packed", "ready"):
        raise Unknown("not gone yet")
    shop.cancel(order_id, {"bread": 1})


@pytest.mark.usefixtures("a_parcel_a_line")
def test_15_an_order_of_which_all_arrives_while_a_part_is_undone_is_completed() -> None:
    end = one(ends(place(), SENT, (cancel_bread_once_milk_is_gone,)))
    assert (end["status"], end["due"], end["paid"]) == ("completed", 150, 150)
    assert end["parcels"] == ["delivered", "cancelled"]


def test_16_a_lost_parcel_that_arrives_is_a_case_and_money_and_stock_stay() -> None:
    for shop, order_id, end in ends(place(), (pack(), dispatch(), scan("lost"), scan("delivered"))):
        assert (end["due"], end["paid"], end["cases"]) == (0, 0, ["contradicted"])
        assert end["stock"] == {"milk": (99, 0), "bread": (99, 0)}
        shop.rule_parcel(order_id, 1, "delivered")
        shop.settle()
        assert end_of(shop, order_id) == {**end, "cases": []}


@pytest.mark.usefixtures("a_parcel_a_line")
def test_17_an_order_of_which_one_of_two_parcels_is_gone_is_amended_when_all_is_cancelled() -> None:
    def begin(shop: Shop) -> str:
        order_id = place()(shop)
        for step in (pack(), dispatch()):
            step(shop, order_id)
            shop.settle()
        return order_id

    end = one(ends(begin, (cancel(),), (scan("delivered"),)))
    assert (end["status"], end["due"], end["paid"]) == ("completed", 150, 150)
    assert end["parcels"] == ["delivered", "cancelled"]
    assert end["stock"] == {"milk": (99, 0), "bread": (100, 0)}


def test_18_goodwill_of_everything_and_then_a_cancel_leaves_nothing_due() -> None:
    def all_of_it(shop: Shop, order_id: str) -> None:
        shop.goodwill(order_id, 425)

    for shop, _, end in ends(place(), (all_of_it, cancel(bread=1)), SENT):
        assert (end["due"], end["paid"]) == (0, 0)
        assert sum(ledger(shop, "capture")) == sum(ledger(shop, "refund"))


@pytest.mark.usefixtures("a_parcel_a_line")
def test_19_a_held_parcel_does_not_keep_a_cancel_waiting() -> None:
    def cancel_bread_once_held(shop: Shop, order_id: str) -> None:
        _held(shop, order_id)
        shop.cancel(order_id, {"bread": 1})

    begin = place(card="tok_capture_declined")
    end = one(ends(begin, (pack(), cancel_bread_once_held)))
    assert (end["status"], end["due"], end["parcels"]) == ("confirmed", 150, ["held", "cancelled"])
    end = one(ends(begin, (pack(), cancel_bread_once_held, cancel())))
    assert (end["status"], end["due"], end["paid"], end["held"]) == ("cancelled", 0, 0, 0)


@pytest.mark.parametrize("code", [None, "processor_error"])
def test_20_a_void_of_what_has_expired_silently_is_settled_whatever_the_refusal_says(code: str | None) -> None:
    def begin(shop: Shop) -> str:
        order_id = place(card="tok_expires_silently")(shop)
        shop.provider.give(order_id, "void", CardScript(decline=code))
        shop.pass_time(11 * SECOND)
        return order_id

    for shop, _, end in ends(begin, (cancel(),)):
        assert (end["status"], end["held"], end["cases"]) == ("cancelled", 0, [])
        assert "AuthorizationExpired" in {event.type for event in shop.topics["marea.payment"]}


def test_21_a_unit_can_come_back_once() -> None:
    shop = Shop()
    order_id = sent(shop)
    shop.give_back(order_id, {"milk": 1})
    with pytest.raises(Invalid, match="More units"):
        shop.give_back(order_id, {"milk": 1})
    shop.go_on_with_return(order_id, 1, "cancel")
    shop.give_back(order_id, {"milk": 1})  # it has not come after all
    assert [each["status"] for each in shop.returned(order_id)] == ["cancelled", "requested"]
    shop.close()


# Beside whole shops: one aggregate, and every order in which what it hears can arrive.


class Walk:
    """Follows an aggregate of orders or of the inventory through every merge of the topics that it hears, from one state on.

    What has come to the same is followed once, so that all merges are walked, however many there are.
    """

    def __init__(self, shop: Shop, order_id: str, aggregates: Any, start: Kept[Any], names: Sequence[str]) -> None:
        self.shop, self.order_id, self.aggregates, self.start = shop, order_id, aggregates, start
        self.hear = [shop.hearing()[name] for name in names]
        self.topics = [_told(shop, name, order_id) for name in names]

    @property
    def merges(self) -> int:
        """How many orders of arrival there are, repeats aside."""
        lengths = [len(topic) for topic in self.topics]
        return factorial(sum(lengths)) // prod(map(factorial, lengths))

    def ends(self) -> set[str]:
        """What has become of it: one, if facts commute."""
        whole = tuple(len(topic) for topic in self.topics)
        first = (self.start, Shop().inventory.stocks)
        reached: dict[tuple[int, ...], dict[str, Any]] = {(0,) * len(whole): {"": first}}
        for at in product(*(range(length + 1) for length in whole)):
            for now in reached[at].values():
                self._go_on(at, now, reached)
        return {_shown(kept) for kept, _ in reached[whole].values()}

    def _go_on(self, at: tuple[int, ...], now: Any, reached: dict[tuple[int, ...], dict[str, Any]]) -> None:
        for number, topic in enumerate(self.topics):
            for event in topic[: at[number]]:
                assert self.after(now, number, event) == now, "a repeat has changed it"
            if at[number] < len(topic):
                then = self.after(now, number, topic[at[number]])
                there = tuple(place + (each == number) for each, place in enumerate(at))
                reached.setdefault(there, {})[repr((then[0].state, then[0].notes, then[1]))] = then

    def after(self, now: Any, number: int, event: Event) -> Any:
        kept, self.shop.inventory.stocks = now
        self.aggregates.kept = {self.order_id: kept}
        self.hear[number]([event])
        return self.aggregates.kept[self.order_id], self.shop.inventory.stocks


def _told(shop: Shop, name: str, order_id: str) -> list[Event]:
    [reaction] = [each.reaction for each in shop.readers if each.reaction.name == name]
    return [event for event in shop.topics.get(reaction.topic, []) if event.type in reaction.types and event.key == order_id]


def _shown(kept: Kept[Any]) -> str:
    """What it has become, whatever the versions at which that was, and what was said last."""
    assert kept.state is not None
    beside = ("order_version", "due_version", "undone_version", "reason", "returns_taken")
    return repr({name: value for name, value in kept.state.items() if name not in beside})


OF_ORDERS = ("orders.reservations", "orders.payments", "orders.fulfilments", "orders.returns")
OF_INVENTORY = ("inventory.reservations", "inventory.shipments", "inventory.returns")


def give_back(shop: Shop, order_id: str) -> None:
    shop.give_back(order_id, {"milk": 1})
    for step in ("approve", "receive", "accept"):
        shop.go_on_with_return(order_id, 1, step)


LIVES: dict[str, tuple[dict[str, Any], Thread]] = {
    "delivered": ({}, SENT),
    "lost": ({}, (pack(), dispatch(), scan("lost"))),
    "lost, then delivered": ({}, (pack(), dispatch(), scan("lost"), scan("delivered"))),
    "returned": ({}, (*SENT, give_back)),
    "declined": ({"card": "tok_declined"}, ()),
    "partly authorized": ({"card": "tok_partial"}, ()),
    "free": ({"gift": 1}, SENT),
    "out of stock": ({"milk": 101}, ()),
}


@pytest.mark.parametrize("life", LIVES)
def test_10_what_an_order_and_a_reservation_hear_commutes_in_every_order_of_arrival(life: str) -> None:
    asked, thread = LIVES[life]
    shop = Shop()
    order_id = place(is_settled=False, **asked)(shop)
    [placed] = shop.orders.orders.kept.values()
    shop.settle()
    for step in thread:
        step(shop, order_id)
        shop.settle()
    for aggregates, start, names in (
        (shop.orders.orders, placed, OF_ORDERS),
        (shop.inventory.reservations, Kept(order_id, 0, None, {}, [], shop.now), OF_INVENTORY),
    ):
        end = _shown(aggregates.kept[order_id])
        walk = Walk(shop, order_id, aggregates, start, names)
        assert walk.ends() == {end}
    shop.close()


@pytest.mark.parametrize("life", ["all", "a part"])
@pytest.mark.usefixtures("a_parcel_a_line")
def test_15_what_an_order_hears_after_a_cancel_commutes_in_every_order_of_arrival(life: str) -> None:
    shop = Shop()
    order_id = place()(shop)
    shop.pack(order_id, 1)
    shop.settle()
    if life == "a part":
        shop.dispatch(order_id, 1)
    shop.cancel(order_id)
    asked = shop.orders.orders.kept[order_id]
    if life == "a part":
        shop.scan(order_id, 1, "delivered")
    shop.settle()
    end = _shown(shop.orders.orders.kept[order_id])
    assert Walk(shop, order_id, shop.orders.orders, asked, OF_ORDERS).ends() == {end}
    shop.close()


def test_a_walk_ends_where_each_merge_does() -> None:
    """It is what `merge` gives, one by one, where these are few."""
    shop = Shop()
    order_id = place(is_settled=False)(shop)
    [placed] = shop.orders.orders.kept.values()
    shop.settle()
    walk = Walk(shop, order_id, shop.orders.orders, placed, OF_ORDERS)
    found, merges = set(), list(merge([[(number, event) for event in topic] for number, topic in enumerate(walk.topics)]))
    for each in merges:
        now: Any = (placed, {})
        for number, event in each:
            now = walk.after(now, number, event)
        found.add(_shown(now[0]))
    assert len(merges) == walk.merges
    assert found == walk.ends()
    shop.close()


def test_1_an_answer_is_taken_in_once_by_the_operations_number_whoever_brings_it() -> None:
    shop = Shop()
    order_id = place()(shop)
    context = shop.clock.context()
    before = len(shop.payments.published)
    for _ in range(3):
        told = payment_calls.recorded(Outcome(f"{order_id}.1", "authorize", True, 425, "auth", None))  # noqa: FBT003
        payment_calls.learn(shop.payments, [payment_calls.News(order_id, told, context)])
    assert len(shop.payments.published) == before
    shop.close()


def test_1_answers_of_two_operations_of_one_order_that_come_at_once_both_count() -> None:
    """As when an operation that was given up is answered after all, while the next one is made."""
    shop = Shop()
    order_id = place()(shop)
    shop.pack(order_id, 1)
    for reader in shop.readers:
        shop.read(reader, 100)
    [task] = shop.payments.tasks.values()
    assert task.id == f"{order_id}.2"
    captured = Answered(task, Outcome(task.id, "capture", True, 425, "auth"))  # noqa: FBT003
    late = Answered(task._replace(id=f"{order_id}.1"), Outcome(f"{order_id}.1", "authorize", True, 425, "auth"))  # noqa: FBT003
    payment_calls.record_answers(shop.payments, [captured, late], shop.clock.context())
    assert [event.type for event in shop.payments.published][-1] == "PaymentCaptured"
    shop.close()


@pytest.mark.parametrize("card", ["tok_approved", "tok_dropped"])
def test_what_follows_from_placing_an_order_is_one_trace_whoever_brings_the_providers_answer(card: str) -> None:
    """When the reply is lost the webhook brings it."""
    shop, trace = Shop(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    order_id = shop.place({"milk": 1}, card, traceparent=trace)
    shop.settle(lambda things: things[-1])
    assert shop.order(order_id)["status"] == "confirmed"
    found = {event.type: event.traceparent for topic in shop.topics.values() for event in topic}
    assert found.keys() >= {"ReservationMade", "PaymentAuthorized", "OrderConfirmed", "ShipmentsPlanned"}
    assert {*found.values()} == {trace}
    shop.close()
