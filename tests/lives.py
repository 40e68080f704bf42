"""A whole shop in memory, in which everything may happen in any order: for tests of what becomes of orders.

Each reaction reads its topics by itself, as far and as late as it is told. The provider and the carrier are those of the demo,
without HTTP, with a clock of their own.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

from api.inventory import reactions as inventory
from api.inventory import rules as stock
from api.orders import deadlines as order_deadlines
from api.orders import exchanges, placing
from api.orders import reactions as orders
from api.orders import rules as order_rules
from api.orders.placing import Line, Payer, Price
from api.payments import calls as payment_calls
from api.payments import reactions as payments
from api.payments import rules as payment_rules
from api.payments.provider import Outcome
from api.services import reactions
from api.shipping import calls as shipping_calls
from api.shipping import deadlines as shipping_deadlines
from api.shipping import reactions as shipping
from api.shipping import returns as return_rules
from api.shipping import rules as shipping_rules
from kernel.aggregates import Changed
from kernel.clock import Clock
from kernel.deadlines import Due
from kernel.refusals import Conflict, Refused, Unknown
from kernel.tasks import MOST_ATTEMPTS, Answered, NoAnswer, Task, Unanswered
from schemas.codec import TYPES
from schemas.event import Event
from streams.engine.consumer import NotYet, Reaction
from tests.events import START
from tests.memory_carrier import MemoryCarrier
from tests.memory_provider import MemoryProvider
from tests.memory_services import MemoryInventory, MemoryOrders, MemoryPayments, MemoryShipping

PRICES = {
    "milk": Price(1, "Milk", "GROCERY", "DAIRY", "National", 150, "USD"),
    "bread": Price(1, "Bread", "GROCERY", "BREAD", "Private", 275, "USD"),
    "gift": Price(1, "Gift", "GROCERY", "OTHER", "Private", 0, "USD"),
}
DAY = timedelta(days=1)
PAY_WITHIN = timedelta(minutes=15)


@dataclass
class Reader:
    """A reaction, and how far it has read."""

    reaction: Reaction
    hear: Callable[[Sequence[Event]], None]
    position: int = 0


class Shop:
    """All services of an order's life, with stock of each product."""

    def __init__(self) -> None:
        self.now = START
        numbers = count(1)
        self.clock = Clock(lambda: self.now, lambda: f"01900000-0000-7000-8000-{next(numbers):012}")
        self.orders, self.inventory = MemoryOrders(), MemoryInventory()
        self.payments, self.shipping = MemoryPayments(), MemoryShipping()
        self.orders.copied = {sku: (1, price, False) for sku, price in PRICES.items()}
        self.stock_up(100)
        self.provider, self.carrier = MemoryProvider(self._seconds), MemoryCarrier(self._seconds)
        self.topics: dict[str, list[Event]] = {}
        self._published = [0, 0, 0, 0]
        self.readers = [Reader(each, self._hear(each.name)) for each in reactions().values() if each.name in self.hearing()]
        self.attempts: dict[str, int] = {}
        self.told: list[Callable[[], None]] = []
        self.given_up: dict[str, Task] = {}
        #: Operations of which somebody ruled, or the provider told two things: its ledger need not say what ours does.
        self.doubtful: set[str] = set()

    def stock_up(self, units: int) -> None:
        """So many units of each product, before anything happens."""
        self.units = units
        self.inventory.stocks = {sku: stock.Stock(sku, 1, units, 0) for sku in PRICES}

    def close(self) -> None:
        self.provider.close()
        self.carrier.close()

    # What people do

    def place(
        self, lines: Mapping[str, int], card: str | None = "tok_approved", customer: str = "ada", traceparent: str | None = None
    ) -> str:
        context = self.clock.context(traceparent)
        event = placing.place(context.new_id(), Payer(customer, card, PAY_WITHIN), _lines(lines), PRICES, context)
        self.orders.place(event, None, {})
        self.gather()
        return event.key

    def cancel(self, order_id: str, units: Mapping[str, int] | None = None) -> None:
        self._of_order(order_id, lambda order: order_rules.cancel(order_id, order, units, None, self.clock.context()))

    def goodwill(self, order_id: str, amount_minor: int) -> None:
        self._of_order(order_id, lambda order: order_rules.goodwill(order_id, order, amount_minor, "late", None, self.clock.context()))

    def change_card(self, order_id: str, card: str = "tok_approved") -> None:
        self._of_payment(order_id, lambda payment: payment_rules.change_card(order_id, payment, card, self.clock.context()))

    def rule_payment(self, order_id: str, number: int, outcome: Any) -> None:
        self._of_payment(
            order_id, lambda payment: payment_rules.rule(order_id, payment, number, outcome, "seen", self.clock.context())
        )
        self.doubtful.add(f"{order_id}.{number}")

    def retry(self, order_id: str, number: int) -> None:
        task = self.given_up.pop(f"{order_id}.{number}", None)
        if task is None:
            raise Conflict("it was not given up")
        self.attempts[task.id] = 0
        self.payments.ask([task], self.now)

    def contradict(self, order_id: str, number: int) -> None:
        """The provider tells the opposite of what it has told of an operation."""
        payment = self.payment(order_id)
        assert payment
        [known] = [each for each in payment["operations"] if each["number"] == number]
        is_done, context = known["state"] != "succeeded", self.clock.context()
        key, amount_minor = f"{order_id}.{number}", known["amount_minor"] if is_done else 0
        told = Outcome(key, known["kind"], is_done, amount_minor, known["reference"] or "auth_x", "mistaken")
        self.doubtful.add(key)
        payment_calls.learn(self.payments, [payment_calls.News(order_id, payment_calls.recorded(told), context)])
        self.gather()

    def pack(self, order_id: str, number: int) -> None:
        self._of_parcel(order_id, lambda parcels: shipping_rules.pack(order_id, parcels, number, self.clock.context()))

    def dispatch(self, order_id: str, number: int) -> None:
        self._of_parcel(order_id, lambda parcels: shipping_rules.dispatch(order_id, parcels, number, self.clock.context()))

    def rule_parcel(self, order_id: str, number: int, outcome: Any) -> None:
        self._of_parcel(
            order_id, lambda parcels: shipping_rules.rule(order_id, parcels, number, outcome, "seen", self.clock.context())
        )

    def scan(self, order_id: str, number: int, what: Any) -> None:
        self._of_parcel(order_id, lambda parcels: shipping_rules.scan(parcels, number, what, self.clock.context()))

    def give_back(self, order_id: str, units: Mapping[str, int]) -> None:
        self._of_returns(
            order_id,
            lambda found, there: return_rules.request(order_id, found, there, units, None, 30 * DAY, self.clock.context()),
        )

    def go_on_with_return(self, order_id: str, number: int, what: str) -> None:
        context = self.clock.context()
        steps: dict[str, Callable[[Any, Any], Any]] = {
            "approve": lambda found, _: return_rules.approve(found, number, 30 * DAY, context),
            "reject": lambda found, _: return_rules.reject(found, number, "opened", context),
            "cancel": lambda found, _: return_rules.cancel(found, number, context),
            "receive": lambda found, _: return_rules.receive(found, number, context),
            "accept": lambda found, there: return_rules.accept(found, number, there, None, True, context),  # noqa: FBT003
            "spoilt": lambda found, there: return_rules.accept(found, number, there, 0, False, context),  # noqa: FBT003
        }
        self._of_returns(order_id, steps[what])

    def exchange(self, order_id: str, units: Mapping[str, int], lines: Mapping[str, int], card: str | None = "tok_approved") -> tuple[str, str]:
        """The exchange's id and the new order's."""
        context = self.clock.context()
        before = self.orders.orders.lock([order_id])[order_id]
        assert before.state
        if before.state["status"] not in ("confirmed", "completed"):
            raise Conflict("not now")
        exchange_id = context.new_id()
        payer = Payer("ada", card, 30 * DAY, exchange_id)
        placed = placing.place(context.new_id(), payer, _lines(lines), PRICES, context)
        event = exchanges.request(exchange_id, order_id, placed.key, "ada", units, context)
        self.orders.place(placed, None, {})
        self.orders.add_exchange(event, Due(exchange_id, "exchange_by", self.now + 30 * DAY), None)
        self.gather()
        return exchange_id, placed.key

    # What happens by itself, one thing at a time

    def things(self) -> list[Callable[[], None]]:
        """What could happen next, in no order: a reaction reads on, a call is made, something is told, or a deadline is over."""
        self.gather()
        found: list[Callable[[], None]] = [partial(self.read, each) for each in self.readers if self._left(each)]
        found += [partial(self.call, self.payments, task) for task in self.payments.tasks.values()]
        found += [partial(self.call, self.shipping, task) for task in self.shipping.tasks.values()]
        found += self.told
        return found

    def read(self, reader: Reader, most: int = 1) -> None:
        """A reaction reads the next events of its topic."""
        topic = self.topics.get(reader.reaction.topic, [])
        events = topic[reader.position : reader.position + most]
        try:
            reader.hear([event for event in events if event.type in reader.reaction.types])
        except NotYet:
            return
        reader.position += len(events)
        self.gather()

    def again(self, reader: Reader, number: int) -> None:
        """A reaction that has lost its position reads the last events again."""
        reader.position = max(0, reader.position - number)

    def call(self, store: Any, task: Task) -> None:
        """A call is made, and its answer recorded, or that there was none."""
        attempt = self.attempts[task.id] = self.attempts.get(task.id, 0) + 1
        tried = task._replace(attempts=attempt)
        context = self.clock.context()
        try:
            answer = self._make(store, tried)
        except NoAnswer as error:
            is_given_up = attempt >= MOST_ATTEMPTS
            if store is self.payments:
                payment_calls.record_unanswered(store, [Unanswered(tried, str(error), is_given_up)], context)
            if is_given_up:
                store.tasks.pop(task.id, None)
                self.given_up[task.id] = task
        else:
            if store.tasks.pop(task.id, None):
                self._record(store, Answered(tried, answer))
        self.listen()
        self.gather()

    def listen(self) -> None:
        """What the provider and the carrier tell is on its way; it may come twice."""
        for headers, body in self.provider.webhooks():
            self.told.append(partial(self._hear_provider, headers, body, self.now))
        for headers, body in self.carrier.webhooks():
            self.told.append(partial(self._hear_carrier, headers, body, self.now))

    def pass_time(self, how_long: timedelta) -> None:
        """Time goes by: for the shop, the provider and the carrier; what falls due becomes commands."""
        self.now += how_long
        self.listen()
        context = self.clock.context()
        handlers: list[tuple[Any, str, Any]] = [
            (self.orders, "pay_by", order_deadlines.expire_orders),
            (self.orders, "hold_by", order_deadlines.give_up_held),
            (self.orders, "exchange_by", order_deadlines.expire_exchanges),
            (self.shipping, "arrive_by", shipping_deadlines.find_overdue),
            (self.shipping, "return_by", shipping_deadlines.expire_returns),
        ]
        for store, name, handle in handlers:
            due = sorted(id_ for (each, id_), at in store.due.items() if each == name and at <= self.now)
            store.clear(name, due)
            handle(store, due, context)
        self.gather()

    def settle(self, choose: Callable[[Sequence[Any]], Any] = lambda things: things[0]) -> None:
        """Until nothing is left that could happen by itself."""
        for _ in range(5_000):
            things = self.things()
            if not things:
                return
            thing = choose(things)
            if thing in self.told:
                self.told.remove(thing)
            thing()
        raise AssertionError("it goes on for ever")

    def gather(self) -> None:
        """What the services have published is in the topics."""
        stores: tuple[Any, ...] = (self.orders, self.inventory, self.payments, self.shipping)
        for number, store in enumerate(stores):
            for event in store.published[self._published[number] :]:
                self.topics.setdefault(TYPES[event.type].topic, []).append(event)
            self._published[number] = len(store.published)

    # What it is about

    def order(self, order_id: str) -> order_rules.State:
        state: order_rules.State | None = self.orders.orders.kept[order_id].state
        assert state is not None
        return state

    def payment(self, order_id: str) -> payment_rules.State | None:
        kept = self.payments.payments.kept.get(order_id)
        return kept.state if kept else None

    def parcels(self, order_id: str) -> list[Any]:
        kept = self.shipping.fulfilments.kept.get(order_id)
        return kept.state["shipments"] if kept and kept.state else []

    def cases(self, order_id: str) -> list[Any]:
        """What of it needs a person."""
        payment, kept = self.payment(order_id), self.shipping.fulfilments.kept.get(order_id)
        return [*(payment["cases"] if payment else []), *(kept.state["cases"] if kept and kept.state else [])]

    def exchanged(self) -> list[exchanges.State]:
        return [kept.state for kept in self.orders.exchanges.kept.values() if kept.state]

    def returned(self, order_id: str) -> list[Any]:
        kept = self.shipping.returns.kept.get(order_id)
        return kept.state["returns"] if kept and kept.state else []

    # What people do in the end

    def waiting(self, order_id: str) -> list[list[Callable[[], None]]]:
        """What waits for a person, each with all that he could do; the first of them is what brings it to its end."""
        found = [each for parcel in self.parcels(order_id) if (each := self._waiting_parcel(order_id, parcel))]
        found += [each for back in self.returned(order_id) if (each := self._waiting_return(order_id, back))]
        payment = self.payment(order_id)
        return [*found, *(self._waiting_case(order_id, case) for case in (payment["cases"] if payment else []))]

    def finish(self, choose: Callable[[Sequence[Any]], Any] = lambda things: things[0]) -> None:
        """People see to all that waits for them, and time goes by, until all is over. Raises AssertionError when that never is."""
        for _ in range(60):
            self.settle(choose)
            if all(self._is_over(order_id) for order_id in self.orders.orders.kept):
                return
            for order_id in [*self.orders.orders.kept]:
                for first, *_ in self.waiting(order_id):
                    with suppress(Refused):
                        first()
            self.settle(choose)
            self.pass_time(2 * DAY)
        stuck = {each: self.order(each)["status"] for each in self.orders.orders.kept if not self._is_over(each)}
        raise AssertionError(f"it never ends: {stuck}")

    def _is_over(self, order_id: str) -> bool:
        is_final = self.order(order_id)["status"] in ("rejected", "cancelled", "completed")
        return is_final and not self.waiting(order_id) and not self.cases(order_id)

    def _waiting_parcel(self, order_id: str, parcel: Any) -> list[Callable[[], None]]:
        number = parcel["number"]
        ruled: list[Callable[[], None]] = [
            lambda: self.rule_parcel(order_id, number, "delivered"),
            lambda: self.rule_parcel(order_id, number, "lost"),
        ]
        if parcel["is_contradicted"] or parcel["status"] == "overdue":
            return ruled
        if parcel["status"] == "held":
            return [lambda: self.change_card(order_id), lambda: self.cancel(order_id)]
        commands = {"planned": self.pack, "ready": self.dispatch}
        command = commands.get(parcel["status"])
        return [lambda: command(order_id, number)] if command else []

    def _waiting_return(self, order_id: str, back: Any) -> list[Callable[[], None]]:
        steps = {"requested": ("approve", "reject", "cancel"), "approved": ("receive", "cancel"), "received": ("accept", "reject", "spoilt")}
        return [partial(self.go_on_with_return, order_id, back["number"], step) for step in steps.get(back["status"], ())]

    def _waiting_case(self, order_id: str, case: Any) -> list[Callable[[], None]]:
        number, kind = case["number"], case["kind"]
        ruled = {outcome: partial(self.rule_payment, order_id, number, outcome) for outcome in ("succeeded", "failed")}
        if kind == payment_rules.UNANSWERED:
            return [lambda: self.retry(order_id, number), ruled["failed"], ruled["succeeded"]]
        if kind == "disputed":
            outcome = self.provider.lookup(f"{order_id}.{number}")
            first = "succeeded" if outcome and outcome.is_done else "failed"
            return [ruled[first], ruled["failed"], ruled["succeeded"]]
        if kind == "uncollected":
            return [lambda: self.goodwill(order_id, self._uncollected(order_id)), lambda: self.change_card(order_id)]
        return [ruled["succeeded"], ruled["failed"]]

    def _uncollected(self, order_id: str) -> int:
        payment = self.payment(order_id)
        return payment["due_minor"] - payment_rules.paid(payment) if payment else 0

    # What has to hold

    def check(self) -> None:
        """Raises AssertionError unless every order is final, or waits for a person or a deadline, and all sums agree."""
        for order_id in self.orders.orders.kept:
            self._check_order(order_id)
            self._check_due(order_id)
            self._check_parcels(order_id)
        for exchange in self.exchanged():
            self._check_exchange(exchange)
        self._check_stock()
        self._check_ledger()
        self._check_once()

    def check_over(self) -> None:
        """As `check`, when all is over: nothing waits, money is what is due, and no unit is promised any more."""
        self.check()
        assert not {**self.payments.tasks, **self.shipping.tasks}
        for order_id in self.orders.orders.kept:
            order, payment = self.order(order_id), self.payment(order_id)
            paid = payment_rules.paid(payment) if payment else 0
            assert paid == order["due_minor"], (order_id, paid, order["due_minor"])
            assert not payment or not payment["authorized_minor"], "money is held for nothing"
            self._check_given(order_id, order)
        assert all(exchange["step"] in ("finished", "failed") for exchange in self.exchanged())
        assert all(item.reserved == 0 for item in self.inventory.stocks.values())

    def _check_order(self, order_id: str) -> None:
        order, payment = self.order(order_id), self.payment(order_id)
        status, paid = order["status"], payment_rules.paid(payment) if payment else 0
        cases = self.cases(order_id)
        if status in ("cancelled", "rejected"):
            assert order["due_minor"] == 0
            assert paid == 0 or cases, (status, paid)
        if status == "completed" and not cases:
            assert paid == order["due_minor"], (paid, order["due_minor"])
        if status in ("placed", "reserved"):
            waits = ("pay_by", order_id) in self.orders.due
            assert waits, f"{status} and without a deadline"
        if status == "undoing":
            assert cases, "undoing for ever"
        assert status != "stopping", "stopping for ever"
        if status == "confirmed":
            self._check_confirmed(order_id, order, cases)
        if payment:
            asked = sum(each["amount_minor"] for each in payment["operations"] if each["kind"] == "authorize")
            assert payment["captured_minor"] <= asked
            assert payment["refunded_minor"] <= payment["captured_minor"] + payment["written_off_minor"] or cases

    def _check_due(self, order_id: str) -> None:
        """What is due is what the sums say, and they are those of the units."""
        order = self.order(order_id)
        less = sum(order[f"{name}_minor"] for name in ("cancelled", "lost", "returned", "goodwill", "credit_got"))  # type: ignore[literal-required]
        assert order["due_minor"] == max(0, order["total_minor"] + order["credit_given_minor"] - less)
        assert order["cancelled_minor"] == sum(each["unit_price_minor"] * each["cancelled"] for each in order["units"])
        assert order["lost_minor"] == sum(each["unit_price_minor"] * each["lost"] for each in order["units"])
        assert all(each["cancelled"] + each["lost"] <= each["quantity"] for each in order["units"])

    def _check_confirmed(self, order_id: str, order: order_rules.State, cases: Sequence[Any]) -> None:
        """Parcels wait for staff, or for the carrier, who is watched; or somebody has to see to money."""
        statuses = {each["status"] for each in self.parcels(order_id)}
        staff = statuses & {"planned", "packed", "ready"}
        watched = statuses & {"dispatched"} and ("arrive_by", order_id) in self.shipping.due
        held = statuses & {"held"} and ("hold_by", order_id) in self.orders.due
        assert staff or watched or held or cases, (statuses, order["due_minor"], self.payment(order_id))

    def _check_parcels(self, order_id: str) -> None:
        """What has left the house was captured for, was not cancelled, and is not in the warehouse any more."""
        payment, kept = self.payment(order_id), self.inventory.reservations.kept.get(order_id)
        captured = {each["shipment"] for each in payment["operations"] if each["kind"] == "capture"} if payment else set()
        gone: Counter[str] = Counter()
        for parcel in self.parcels(order_id):
            if parcel["status"] in shipping_rules.GONE:
                assert parcel["number"] in captured, "it was shipped before it was paid for"
                gone.update({units["sku"]: units["quantity"] for units in parcel["units"]})
        cancelled = {each["sku"]: each["cancelled"] for each in self.order(order_id)["units"]}
        for line in kept.state["lines"] if kept and kept.state else []:
            assert (line["consumed"], line["released"]) == (gone[line["sku"]], cancelled[line["sku"]])

    def _check_exchange(self, exchange: exchanges.State) -> None:
        """It has ended, or the step has a deadline."""
        match exchange["step"]:
            case "reserving" | "returning":
                assert ("exchange_by", exchange["exchange_id"]) in self.orders.due
            case "crediting":
                assert ("pay_by", exchange["new_order_id"]) in self.orders.due or self.waiting(exchange["new_order_id"])

    def _check_given(self, order_id: str, order: order_rules.State) -> None:
        """What orders in exchange got is what this order gave."""
        got = sum(
            self.order(each["new_order_id"])["credit_got_minor"] for each in self.exchanged() if each["order_id"] == order_id
        )
        assert order["credit_given_minor"] == got

    def _check_once(self) -> None:
        """What happens once to an aggregate is told once, and nothing is told that says what was said before."""
        once = {
            *("OrderPlaced", "OrderReserved", "OrderRejected", "OrderConfirmed", "OrderCompleted", "OrderCancelled"),
            *("ReservationMade", "ReservationRefused", "ShipmentsPlanned", "CreditDecided", "ExchangeFailed", "ExchangeFinished"),
        }
        for topic in self.topics.values():
            counted = Counter((event.type, event.key) for event in topic if event.type in once)
            assert not [each for each, number in counted.items() if number > 1]
        settled: dict[str, Any] = {}
        for event in self.topics.get("marea.payment", []):
            assert event.type != "PaymentSettled" or event.data != settled.get(event.key), "settled twice"
            if event.data["settled_version"] > settled.get(event.key, {}).get("settled_version", 0):
                assert not payment_rules.is_doubtful(event.data), "settled while nobody knows what is paid"
            settled[event.key] = event.data
        asked = [
            (event.key, event.data["answered"]["number"])
            for event in self.topics.get("marea.fulfilment", [])
            if event.type == "FulfilmentAnswered"
        ]
        assert len(asked) == len({*asked}), "a request was answered twice"

    def _check_stock(self) -> None:
        for sku, item in self.inventory.stocks.items():
            reserved = shipped = back = 0
            for order_id, kept in self.inventory.reservations.kept.items():
                for line in kept.state["lines"] if kept.state else []:
                    if line["sku"] == sku:
                        assert line["released"] + line["consumed"] <= line["reserved"]
                        reserved += line["reserved"] - line["released"] - line["consumed"]
                        shipped += line["consumed"]
                back += sum(
                    units["quantity"]
                    for each in self.returned(order_id)
                    if each["status"] in ("accepted", "refunded") and each["is_restocked"]
                    for units in each["units"]
                    if units["sku"] == sku
                )
            assert (item.on_hand, item.reserved) == (self.units - shipped + back, reserved), sku

    def _check_ledger(self) -> None:
        """The provider's ledger says what ours does, but for operations of which nobody knows yet, or that are doubtful."""
        theirs = {entry.outcome.operation_id: entry.outcome for entry in self.provider.ledger()}
        for order_id, kept in self.payments.payments.kept.items():
            for each in kept.state["operations"] if kept.state else []:
                operation_id = f"{order_id}.{each['number']}"
                outcome = theirs.get(operation_id)
                if operation_id in self.doubtful:
                    continue
                assert each["state"] != "disputed", "the provider has said one thing, late or not"
                if each["state"] == "succeeded" and each["amount_minor"]:
                    assert outcome is not None
                    assert outcome.is_done or each["kind"] == "authorize", each
                    assert each["kind"] == "authorize" or outcome.amount_minor == each["amount_minor"]
                if each["state"] == "failed":
                    assert outcome is None or not outcome.is_done, each

    # How

    def _seconds(self) -> float:
        return self.now.timestamp()

    def hearing(self) -> dict[str, Callable[[Sequence[Any]], None]]:
        """By name, what each reaction does with events."""
        of_orders: dict[str, Any] = {
            "reservations": orders.hear_reservations,
            "payments": orders.hear_payments,
            "fulfilments": partial(orders.hear_fulfilments, hold=order_rules.HOLD),
            "returns": orders.hear_returns,
            "exchanges": orders.hear_exchanges,
            "new_orders": orders.hear_orders_in_exchange,
            "returned": orders.hear_returns_in_exchange,
        }
        of_inventory: dict[str, Any] = {
            "reservations": inventory.hear_orders,
            "shipments": inventory.hear_fulfilments,
            "returns": inventory.hear_returns,
        }
        of_payments: dict[str, Any] = {"due": payments.hear_orders, "shipments": payments.hear_fulfilments}
        of_shipping: dict[str, Any] = {
            "orders": shipping.hear_orders,
            "payments": shipping.hear_payments,
            "taken": shipping.hear_taken,
            "exchanges": shipping.hear_exchanges,
        }
        services: Sequence[tuple[str, Any, dict[str, Any]]] = (
            ("orders", self.orders, of_orders),
            ("inventory", self.inventory, of_inventory),
            ("payments", self.payments, of_payments),
            ("shipping", self.shipping, of_shipping),
        )
        heard: dict[str, Callable[[Sequence[Any]], None]] = {"orders.prices": partial(orders.copy_prices, self.orders)}
        for service, store, hears in services:
            for name, hear in hears.items():
                heard[f"{service}.{name}"] = partial(hear, store, clock=self.clock)
        return heard

    def _hear(self, name: str) -> Callable[[Sequence[Event]], None]:
        hear = self.hearing()[name]
        return lambda events: hear(events) if events else None

    def _left(self, reader: Reader) -> bool:
        return reader.position < len(self.topics.get(reader.reaction.topic, []))

    def _make(self, store: Any, task: Task) -> Any:
        if store is self.payments:
            return payment_calls.make(self.provider, task)
        make = shipping_calls.book if task.kind == "shipping.label" else shipping_calls.hand_over
        return make(self.carrier, task)

    def _record(self, store: Any, answered: Answered) -> None:
        context = self.clock.context()
        if store is self.payments:
            payment_calls.record_answers(store, [answered], context)
        elif answered.task.kind == "shipping.label":
            shipping_calls.record_labels(store, [answered], context)

    def _hear_provider(self, headers: Mapping[str, str], body: bytes, signed_at: datetime) -> None:
        webhook = self.provider.parse_webhook(headers, body, signed_at)
        operation_id, context = webhook.outcome.operation_id, self.clock.context()
        if self.payments.keep_webhook(webhook.id, operation_id, body, self.now):
            caused = context._replace(traceparent=self.payments.done([operation_id], self.now).get(operation_id))
            with suppress(Unknown):
                told = payment_calls.recorded(webhook.outcome)
                payment_calls.learn(self.payments, [payment_calls.News(payment_calls.order_of(operation_id), told, caused)])

    def _hear_carrier(self, headers: Mapping[str, str], body: bytes, signed_at: datetime) -> None:
        scan = self.carrier.parse_webhook(headers, body, signed_at)
        if self.shipping.keep_webhook(scan.id, scan.tracking, body, self.now) and (parcel := self.shipping.labelled(scan.tracking)):
            self.scan(*parcel, scan.what)

    def _of_order(self, order_id: str, decide: Callable[[Any], Any]) -> None:
        [kept] = self.orders.orders.lock([order_id]).values()
        assert kept.state
        event = decide(order_rules.Order(kept.version, kept.state))
        if event:
            facts: Any = kept.notes
            more = order_rules.run(order_rules.evolve(event), facts, self.clock.context())
            self.orders.orders.save([Changed(kept, [event, *more], kept.notes)])
        self.gather()

    def _of_payment(self, order_id: str, decide: Callable[[Any], Any]) -> None:
        kept = self.payments.payments.lock([order_id]).get(order_id)
        event = decide(payments.payment_of(kept) if kept else None)
        assert kept
        context = self.clock.context()
        after, more = payment_rules.advance(payment_rules.evolve(payments.payment_of(kept), event), context)
        payments.save(self.payments, [payments.Advanced(kept, after, [event, *more], context)])
        self.gather()

    def _of_parcel(self, order_id: str, decide: Callable[[Any], Any]) -> None:
        kept = self.shipping.fulfilments.lock([order_id]).get(order_id)
        event = decide(shipping.fulfilment_of(kept) if kept else None)
        if event:
            assert kept
            context = self.clock.context()
            more = shipping_rules.run(shipping_rules.evolve(shipping.fulfilment_of(kept), event), context)
            shipping.save(self.shipping, [(kept, [event, *more], kept.notes)], context)
        self.gather()

    def _of_returns(self, order_id: str, decide: Callable[[Any, Any], Any]) -> None:
        parcels = self.shipping.fulfilments.lock([order_id]).get(order_id)
        if parcels is None:
            raise Unknown("nothing was sent")
        [kept] = self.shipping.returns.lock_or_add([order_id]).values()
        event = decide(shipping.returns_of(kept), shipping.delivered_of(parcels))
        more = return_rules.run(return_rules.evolve(shipping.returns_of(kept), event), self.clock.context())
        shipping.save_returns(self.shipping, [(kept, [event, *more], kept.notes)])
        self.gather()


def merge(topics: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Every order in which things of several topics may arrive, each topic's own order kept."""
    if not any(topics):
        yield []
        return
    for number, topic in enumerate(topics):
        if topic:
            rest = [each[1:] if place == number else each for place, each in enumerate(topics)]
            for others in merge(rest):
                yield [topic[0], *others]


def _lines(lines: Mapping[str, int]) -> list[Line]:
    return [Line(sku, quantity) for sku, quantity in lines.items()]


