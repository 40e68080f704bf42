"""What may come in another order than one thinks, on the real stack: each ends with its order final, money and stock as they have to be.

The numbers are those of the table in docs/sagas.md. Its scenarios 6, 11 and 12 need what is not there yet.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from kernel import settings
from kernel.partition import partition_of
from local.stack import Stack
from ops.databases import admin
from ops.positions import parked
from ops.verify import verify
from tests.stack.shop import at_once, eventually
from tests.stack.whole import House, parcel, steps

#: What is held is let go by moving a company's clock: until then nobody hears of it.
HELD = {"delay_s": 3_600, "webhooks": []}
#: More lines than fit into one parcel.
TWO_PARCELS = [100] * 11


@pytest.fixture(scope="module", autouse=True)
def all_of_it_is_proven(stack: Stack) -> Iterator[None]:
    before = parked()
    yield
    report = verify()
    assert (report.differences, report.parked) == ([], before)


@pytest.fixture
def house(stack: Stack) -> House:
    return House()


def test_1_what_is_captured_after_the_cancel_is_paid_back_and_the_order_is_undoing_meanwhile(house: House) -> None:
    [milk, _] = house.products()
    order_id = house.confirmed([(milk, 2)])
    house.provider.script(order_id, "capture", **HELD)
    house.pack(order_id)
    eventually(lambda: len(house.ledger(order_id)) == 2)
    assert house.cancel(order_id).ok
    house.becomes(order_id, "undoing")
    house.provider.later(3_600)
    order = house.check(order_id, "cancelled", 0, {})
    assert (order["payment"]["captured_minor"], order["payment"]["refunded_minor"]) == (300, 300)


def test_2_no_answer_is_no_failure_and_what_was_done_is_done_once(house: House) -> None:
    [milk, _] = house.products()
    order_id = house.placed([(milk, 2)])
    house.provider.script(order_id, "authorize", drops=1, webhooks=[])
    house.provider.script(order_id, "capture", drops=1, webhooks=[])
    house.pay(order_id)
    house.until(order_id, lambda order: order["fulfilment"])
    house.hand_over(order_id)
    order = house.check(order_id, "completed", 300, {milk: 2})
    assert steps(order, "payment").count("PaymentUnknown") == 2
    assert [entry.outcome.kind for entry in house.ledger(order_id)] == ["authorize", "capture"]


def test_3_what_is_told_three_times_or_before_the_answer_counts_once(house: House) -> None:
    [milk, _] = house.products()
    order_id = house.confirmed([(milk, 2)])
    house.provider.script(order_id, "capture", **HELD)
    house.pack(order_id)
    [_, captured] = eventually(lambda: len(found := house.ledger(order_id)) == 2 and found)
    outcome = captured.outcome
    operation = {
        "id": outcome.operation_id,
        "kind": outcome.kind,
        "status": "succeeded",
        "amount_minor": outcome.amount_minor,
        "authorization": outcome.reference,
        "code": None,
    }
    together = Barrier(3)

    def tell(_: int) -> int:
        together.wait(10)
        return house.provider.tell({"id": f"evt-{house.name}", "operation": operation}).status_code

    assert at_once(tell, 3) == [204, 204, 204]
    unknown = operation | {"id": f"{order_id}.77"}
    assert house.provider.tell({"id": f"evt-{house.name}-2", "operation": unknown}).status_code == 204
    house.stepped(order_id, "payment", "PaymentCaptured")
    house.provider.later(3_600)  # and now the answer
    house.dispatch(order_id)
    order = house.check(order_id, "completed", 300, {milk: 2})
    assert steps(order, "payment") == ["PaymentAuthorized", "PaymentCaptured"]


def test_4_only_the_answer_counts_for_which_an_exchange_waits_and_only_once(house: House) -> None:
    [milk, bread] = house.products()
    order_id = house.completed(milk)
    exchange = house.exchange(order_id, milk, bread, "tok_approved")
    house.until(order_id, lambda order: order["returns"] and order["returns"]["returns"][0]["status"] == "requested")
    house.take_back(order_id)
    again(order_id, "marea.returns", "ReturnAccepted")
    new_id = exchange["new_order_id"]
    house.until(new_id, lambda order: order["status"] == "confirmed" and order["fulfilment"])
    again(order_id, "marea.returns", "ReturnAccepted")
    house.hand_over(new_id)
    new = house.becomes(new_id, "completed")
    assert (new["credit_got_minor"], new["due_minor"], new["payment"]["captured_minor"]) == (150, 125, 125)
    old = house.check(order_id, "completed", 300 - 150 + 150, {milk: 1})
    assert (old["returned_minor"], old["credit_given_minor"], old["payment"]["refunded_minor"]) == (150, 150, 0)
    shown = house.get(f"/exchanges/{exchange['exchange_id']}").json()
    assert [step["type"] for step in shown["steps"]] == [
        "ExchangeRequested",
        "ExchangeReturnWanted",
        "CreditDecided",
        "ExchangeFinished",
    ]


def test_5_what_left_before_the_cancel_is_kept_and_what_did_not_is_not_sent(house: House) -> None:
    [milk, bread] = house.products()
    gone, stopped = house.confirmed([(milk, 2)]), house.confirmed([(bread, 2)])
    house.hand_over(gone)
    assert house.cancel(gone).ok
    house.pack(stopped)
    house.until(stopped, lambda order: parcel(order)["tracking"])
    assert house.cancel(stopped).ok
    late = house.staff(f"/fulfilments/{stopped}/shipments/1/dispatch")
    kept = house.check(gone, "completed", 300, {milk: 2})
    assert "OrderCancelDeclined" in steps(kept)
    if late.ok:  # it was handed over before shipping heard of the cancel
        house.check(stopped, "completed", 550, {bread: 2})
    else:
        assert late.status_code == 409
        house.check(stopped, "cancelled", 0, {})


def test_7_a_deadline_and_a_payment_have_one_winner_who_comes_first_to_the_lock(house: House) -> None:
    [milk, bread] = house.products()
    late, early = house.placed([(milk, 2)]), house.placed([(bread, 2)])
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT FROM orders.orders WHERE id = %s FOR UPDATE", (late,))
        with admin(settings.admin_database_url()) as other:
            other.execute("UPDATE orders.deadline SET due_at = %s, try_at = %s WHERE aggregate_id = %s", (datetime.now(UTC),) * 2 + (late,))
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'orders'"
            eventually(lambda: counted(other, waiting))
        house.pay(late)
        house.stepped(late, "payment", "PaymentAuthorized")
        cursor.execute("COMMIT")
    house.pay(early)
    order = house.check(late, "cancelled", 0, {})
    assert order["reason"] == "it was not paid in time"
    assert "PaymentVoided" in steps(order, "payment")
    house.until(early, lambda order: order["status"] == "confirmed" and order["fulfilment"])
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT FROM orders.deadline WHERE aggregate_id = ANY(%s)", ([late, early],))
        assert cursor.fetchall() == []
    house.hand_over(early)
    house.check(early, "completed", 550, {bread: 2})


def counted(cursor: Any, query: str) -> int:
    cursor.execute(query)
    [number] = cursor.fetchone()
    return int(number)


def test_8_a_refund_is_tried_again_and_one_that_fails_for_good_is_a_case_that_a_person_settles(house: House) -> None:
    [milk, bread] = house.products()
    errors, fails = house.confirmed([(milk, 2)]), house.confirmed([(bread, 2)])
    house.provider.script(errors, "refund", errors=2)
    house.provider.script(fails, "refund", fails_s=0.5)
    for order_id in (errors, fails):
        house.pack(order_id)
        house.stepped(order_id, "payment", "PaymentCaptured")
        assert house.cancel(order_id).ok
    [case] = eventually(lambda: [case for case in house.cases(fails) if case["kind"] == "refund failed"])
    assert house.check(errors, "cancelled", 0, {})["payment"]["refunded_minor"] == 300
    ruling = {"outcome": "succeeded", "reason": "it was sent by hand"}
    assert house.staff(f"/payments/{fails}/operations/{case['number']}/ruling", ruling).ok
    order = house.until(fails, lambda order: order["status"] == "cancelled" and not order["payment"]["cases"])
    assert (order["payment"]["captured_minor"], order["payment"]["refunded_minor"]) == (550, 550)
    with admin(settings.admin_database_url()) as cursor:
        cursor.execute("SELECT command, reason FROM payments.audit WHERE aggregate_id = %s", (fails,))
        assert cursor.fetchall() == [("rule", "it was sent by hand")]


def test_10_facts_that_come_in_another_order_end_in_the_same_state(house: House) -> None:
    [milk, _] = house.products()
    order_id = house.placed([(milk, 2)])
    house.provider.script(order_id, "authorize", webhooks=[3_600, 0, 7_200])
    house.provider.script(order_id, "capture", webhook_first=True)
    house.carrier.script(order_id, "hand_over", delay_s=3_600, scans=[{"what": "delivered", "after_s": 0}])
    house.pay(order_id)
    house.until(order_id, lambda order: order["fulfilment"])
    house.hand_over(order_id)
    house.stepped(order_id, "fulfilment", "ShipmentDelivered")  # before the carrier has said that it has it
    house.carrier.later(3_600)
    house.provider.later(7_200)
    order = house.check(order_id, "completed", 300, {milk: 2})
    assert order["payment"]["cases"] == order["fulfilment"]["cases"] == []


def test_13_an_authorization_that_expires_and_is_not_renewed_holds_the_parcel_until_the_customer_pays_again_or_cancels(
    house: House,
) -> None:
    [milk, bread] = house.products()
    pays, cancels = house.confirmed([(milk, 2)], "tok_expires"), house.confirmed([(bread, 2)], "tok_expires")
    for order_id in (pays, cancels):
        house.provider.script(f"{order_id}.2", "authorize", decline="card_declined")
    house.provider.later(10)
    for order_id in (pays, cancels):
        house.stepped(order_id, "payment", "PaymentDeclined")
        house.pack(order_id)
        house.until(order_id, lambda order: parcel(order)["status"] == "held")
    assert [case["kind"] for case in eventually(lambda: house.cases(pays))] == ["held"]
    house.pay(pays)
    house.dispatch(pays)
    assert house.cancel(cancels).ok
    house.check(cancels, "cancelled", 0, {})
    house.check(pays, "completed", 300, {milk: 2})


def test_14_what_costs_nothing_waits_for_nobody_and_nobody_is_asked(house: House) -> None:
    [gift, milk] = house.products((0, 150))
    nothing, some = house.placed([(gift, 1)]), house.confirmed([(gift, 1), (milk, 1)])
    house.until(nothing, lambda order: order["status"] == "confirmed" and order["fulfilment"])
    for order_id in (nothing, some):
        house.hand_over(order_id)
    house.check(nothing, "completed", 0, {gift: 2, milk: 1})
    house.check(some, "completed", 150, {gift: 2, milk: 1})
    assert house.ledger(nothing) == []


def test_15_all_that_is_left_arrives_while_a_part_is_undone_and_the_order_completes_without_another_fact(house: House) -> None:
    skus = house.products(TWO_PARCELS)
    order_id = house.confirmed([(sku, 1) for sku in skus])
    house.provider.script(order_id, "void", **HELD)
    house.carrier.script(order_id, "hand_over", scans=[{"what": "delivered", "after_s": 0}])
    house.hand_over(order_id, 1)
    house.stepped(order_id, "fulfilment", "ShipmentDelivered")
    assert house.cancel(order_id, {skus[-1]: 1}).ok
    house.becomes(order_id, "undoing")
    eventually(lambda: [entry.outcome.kind for entry in house.ledger(order_id)] == ["authorize", "capture", "void"])
    assert house.shown(order_id)["status"] == "undoing"
    house.provider.later(3_600)
    order = house.check(order_id, "completed", 1_000, dict.fromkeys(skus[:-1], 1))
    assert steps(order)[-2:] == ["OrderAmended", "OrderCompleted"]


def test_16_what_was_lost_and_arrives_after_all_is_a_case_and_money_and_stock_stay_as_decided(house: House) -> None:
    [milk, _] = house.products()
    order_id = house.confirmed([(milk, 2)])
    scans = [{"what": "lost", "after_s": 0}, {"what": "delivered", "after_s": 3_600}]
    house.carrier.script(order_id, "hand_over", scans=scans)
    house.hand_over(order_id)
    house.check(order_id, "completed", 0, {milk: 2})
    house.carrier.later(3_600)
    [case] = eventually(lambda: house.cases(order_id))
    assert (case["kind"], case["number"]) == ("contradicted", 1)
    ruling = {"outcome": "lost", "reason": "it was another parcel"}
    assert house.staff(f"/fulfilments/{order_id}/shipments/1/ruling", ruling).ok
    eventually(lambda: house.cases(order_id) == [])
    house.check(order_id, "completed", 0, {milk: 2})


def test_17_of_two_parcels_one_is_gone_and_the_other_is_stopped(house: House) -> None:
    skus = house.products(TWO_PARCELS)
    order_id = house.confirmed([(sku, 1) for sku in skus])
    house.hand_over(order_id, 1)
    house.stepped(order_id, "fulfilment", "ShipmentDispatched")
    assert house.cancel(order_id).ok
    order = house.check(order_id, "completed", 1_000, dict.fromkeys(skus[:-1], 1))
    assert "OrderAmended" in steps(order)


def test_18_what_is_given_up_is_not_given_up_again_when_a_part_is_cancelled(house: House) -> None:
    [milk, _] = house.products()
    order_id = house.confirmed([(milk, 2)])
    assert house.staff(f"/orders/{order_id}/goodwill", {"amount_minor": 300, "reason": "it came late"}).ok
    assert house.cancel(order_id, {milk: 1}).ok
    house.until(order_id, lambda order: "OrderAmended" in steps(order))
    house.hand_over(order_id)
    order = house.check(order_id, "completed", 0, {milk: 1})
    assert [entry.outcome.kind for entry in house.ledger(order_id)] == ["authorize", "void"]
    assert (order["cancelled_minor"], order["goodwill_minor"]) == (150, 300)


def test_19_a_parcel_that_is_held_keeps_no_part_from_being_cancelled_nor_the_customer_from_cancelling_all(house: House) -> None:
    skus = house.products(TWO_PARCELS)
    order_id = house.confirmed([(sku, 1) for sku in skus], "tok_capture_declined")
    house.pack(order_id, 1)
    house.until(order_id, lambda order: parcel(order, 1)["status"] == "held")
    assert house.cancel(order_id, {skus[-1]: 1}).ok
    house.until(order_id, lambda order: "OrderAmended" in steps(order) and order["status"] == "confirmed")
    assert house.cancel(order_id).ok
    house.check(order_id, "cancelled", 0, {})


def test_20_a_void_that_is_refused_as_there_is_nothing_to_let_go_any_more_is_settled(house: House) -> None:
    [milk, _] = house.products()
    order_id = house.confirmed([(milk, 2)], "tok_expires_silently")
    house.provider.later(10)
    assert house.cancel(order_id).ok
    order = house.check(order_id, "cancelled", 0, {})
    assert "AuthorizationExpired" in steps(order, "payment")


def test_21_a_unit_comes_back_once(house: House) -> None:
    [milk, _] = house.products()
    order_id = house.confirmed([(milk, 1)])
    house.hand_over(order_id)
    house.becomes(order_id, "completed")
    answers = at_once(lambda _: House().give_back(order_id, {milk: 1}), 2)
    assert sorted(answer.status_code for answer in answers) == [200, 422]
    house.take_back(order_id)
    order = house.check(order_id, "completed", 0, {})
    house.stepped(order_id, "returns", "ReturnRefunded")
    assert order["payment"]["refunded_minor"] == 150


def again(key: str, topic: str, type_: str) -> None:
    """The relay publishes an event twice, as after a crash."""
    partition = partition_of(key, settings.partitions())
    reader = Consumer({"bootstrap.servers": settings.kafka(), "group.id": "again", "enable.auto.commit": False})
    reader.assign([TopicPartition(topic, partition, 0)])

    def found() -> Any:
        message = reader.poll(1)
        told = dict(message.headers() or ()) if message and not message.error() else {}
        is_it = message and message.key() == key.encode() and told.get("type") == type_.encode()
        return message if is_it else None

    message = eventually(found)
    reader.close()
    producer = Producer({"bootstrap.servers": settings.kafka()})
    producer.produce(topic, message.value(), message.key(), partition, headers=message.headers())
    assert producer.flush(10) == 0
