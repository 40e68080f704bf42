"""What a provider of payments does: the simulator, in a process of its own and through its adapter, and its twin in memory."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
import requests

from api.payments.provider import EXPIRED, Entry, Kind, Outcome, Provider
from api.payments.simulated import SimulatedProvider
from api.web.webhooks import BadSignature
from demo.provider.cards import CARDS, DAY_S, CardScript
from demo.simulator.webhooks import sign
from kernel.refusals import Malformed
from kernel.tasks import NoAnswer
from tests.companies import KEY, SECRETS, Company, Message, Receiver, receiver
from tests.memory_provider import SECRET, MemoryProvider

CENTS = 1_000
APPROVED = CARDS[0].token


class House(NamedTuple):
    """A provider, and what tests may have of it beside. `told` waits for so many webhooks about something."""

    provider: Provider
    give: Callable[[str, Kind | None, CardScript], None]
    advance: Callable[[float], None]
    told: Callable[[int, str], Sequence[Message]]


class Simulator(NamedTuple):
    company: Company
    receiver: Receiver


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with receiver() as server:
        company = Company("provider", tmp_path_factory.mktemp("provider"), server.url)
        company.start()
        yield Simulator(company, server)
        company.stop()


def of_simulator(simulator: Simulator) -> House:
    company = simulator.company

    def give(prefix: str, kind: Kind | None, script: CardScript) -> None:
        content = {"prefix": prefix, "kind": kind, "script": script.model_dump(mode="json")}
        assert company.post("/scripts", content).ok

    def advance(seconds: float) -> None:
        assert company.post("/clock", {"advance_s": seconds}).ok

    provider = SimulatedProvider(company.url, KEY, SECRETS)
    return House(provider, give, advance, simulator.receiver.wait_for)


def of_twin() -> House:
    twin = MemoryProvider()
    told: list[Message] = []

    def wait_for(number: int, about: str) -> list[Message]:
        told.extend(twin.webhooks())
        found = [each for each in told if about.encode() in each[1]]
        assert len(found) >= number
        return found

    return House(twin, twin.give, twin.advance, wait_for)


@pytest.fixture(params=["simulator", "twin"])
def house(request: pytest.FixtureRequest) -> House:
    return of_twin() if request.param == "twin" else of_simulator(request.getfixturevalue("simulator"))


@pytest.fixture
def order() -> str:
    """An order of the test's own."""
    return f"o-{uuid4().hex[:12]}"


def done(operation_id: str, kind: Kind, amount_minor: int, reference: str) -> Outcome:
    return Outcome(operation_id, kind, is_done=True, amount_minor=amount_minor, reference=reference)


def refused(operation_id: str, kind: Kind, code: str, reference: str | None = None) -> Outcome:
    return Outcome(operation_id, kind, is_done=False, amount_minor=0, reference=reference, code=code)


def authorize(house: House, order: str, token: str = APPROVED, number: int = 1, cents: int = CENTS) -> Outcome:
    return house.provider.authorize(f"{order}.{number}", order, cents, "USD", token)


def authorized(house: House, order: str, token: str = APPROVED) -> str:
    """The reference of an authorization."""
    outcome = authorize(house, order, token)
    assert outcome.is_done
    assert outcome.reference is not None
    return outcome.reference


def entries(house: House, order: str) -> list[Entry]:
    return [each for each in house.provider.ledger() if each.order_id == order]


def webhooks(house: House, operation_id: str, number: int = 1) -> list[tuple[str, Outcome]]:
    messages = house.told(number, f'"{operation_id}"')
    return [(each.id, each.outcome) for each in (house.provider.parse_webhook(*message, datetime.now(UTC)) for message in messages)]


def test_an_operation_is_done_once_however_often_it_is_asked_for(house: House, order: str) -> None:
    reference = authorized(house, order)
    outcome = done(f"{order}.1", "authorize", CENTS, reference)
    assert authorize(house, order) == outcome == house.provider.lookup(f"{order}.1")
    captures = [house.provider.capture(f"{order}.2", reference, 600) for _ in range(2)]
    assert captures == [done(f"{order}.2", "capture", 600, reference)] * 2
    assert [each.outcome for each in entries(house, order)] == [outcome, captures[0]]


def test_a_key_is_of_one_operation_and_of_no_other(house: House, order: str) -> None:
    reference = authorized(house, order)
    with pytest.raises(NoAnswer):
        authorize(house, order, cents=CENTS + 1)
    with pytest.raises(NoAnswer):
        house.provider.void(f"{order}.1", reference)
    assert [each.outcome.amount_minor for each in entries(house, order)] == [CENTS]


def test_an_authorization_is_captured_in_parts_and_never_beyond_it(house: House, order: str) -> None:
    reference = authorized(house, order)
    assert house.provider.capture(f"{order}.2", reference, 600).is_done
    too_much = house.provider.capture(f"{order}.3", reference, 401)
    assert too_much == refused(f"{order}.3", "capture", "exceeds_authorization", reference)
    assert house.provider.capture(f"{order}.4", reference, 400).is_done


def test_what_was_captured_is_given_back_in_parts_and_never_more(house: House, order: str) -> None:
    reference = authorized(house, order)
    assert house.provider.refund(f"{order}.2", reference, 1).code == "exceeds_captured"
    house.provider.capture(f"{order}.3", reference, 600)
    assert house.provider.refund(f"{order}.4", reference, 200) == done(f"{order}.4", "refund", 200, reference)
    assert house.provider.refund(f"{order}.5", reference, 401).code == "exceeds_captured"
    assert house.provider.refund(f"{order}.6", reference, 400).is_done


def test_a_void_lets_go_what_is_held_and_leaves_what_was_captured(house: House, order: str) -> None:
    reference = authorized(house, order)
    house.provider.capture(f"{order}.2", reference, 600)
    assert house.provider.void(f"{order}.3", reference) == done(f"{order}.3", "void", 400, reference)
    assert house.provider.void(f"{order}.4", reference) == refused(f"{order}.4", "void", "voided", reference)
    assert house.provider.capture(f"{order}.5", reference, 1).code == "voided"
    assert house.provider.refund(f"{order}.6", reference, 600).is_done


def test_nothing_is_voided_when_all_was_captured(house: House, order: str) -> None:
    reference = authorized(house, order)
    house.provider.capture(f"{order}.2", reference, CENTS)
    assert house.provider.void(f"{order}.3", reference).code == "nothing_held"


def test_an_authorization_that_is_not_there_is_a_definite_no(house: House, order: str) -> None:
    outcome = house.provider.capture(f"{order}.1", "auth_of nobody/else", 1)
    assert outcome == refused(f"{order}.1", "capture", "unknown_authorization")


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("tok_declined", "card_declined"),
        ("tok_insufficient_funds", "insufficient_funds"),
        ("tok_expired_card", "expired_card"),
        ("tok_stolen_card", "stolen_card"),
        ("tok_of_nobody", "invalid_token"),
    ],
)
def test_a_declined_authorization_says_why_and_stays_declined(house: House, order: str, token: str, code: str) -> None:
    outcome = refused(f"{order}.1", "authorize", code)
    assert authorize(house, order, token) == outcome == authorize(house, order, token)
    assert house.provider.lookup(f"{order}.1") == outcome
    assert entries(house, order) == []


def test_an_authorization_may_be_for_less_than_was_asked(house: House, order: str) -> None:
    outcome = authorize(house, order, "tok_partial")
    assert (outcome.is_done, outcome.amount_minor) == (True, CENTS // 2)
    assert house.provider.capture(f"{order}.2", outcome.reference or "", CENTS // 2 + 1).code == "exceeds_authorization"


def test_a_capture_may_be_declined(house: House, order: str) -> None:
    reference = authorized(house, order, "tok_capture_declined")
    assert house.provider.capture(f"{order}.2", reference, 1).code == "card_declined"
    assert house.provider.void(f"{order}.3", reference).amount_minor == CENTS


def test_what_was_done_and_not_answered_is_done_once_and_can_be_looked_up(house: House, order: str) -> None:
    with pytest.raises(NoAnswer):
        authorize(house, order, "tok_dropped")
    found = house.provider.lookup(f"{order}.1")
    assert found == authorize(house, order, "tok_dropped")
    assert [each.outcome for each in entries(house, order)] == [found]


def test_what_fails_so_many_times_is_not_done_before(house: House, order: str) -> None:
    for _ in range(2):
        with pytest.raises(NoAnswer):
            authorize(house, order, "tok_errors")
        assert house.provider.lookup(f"{order}.1") is None
    assert authorize(house, order, "tok_errors").is_done


def test_an_answer_that_is_too_late_is_none_though_it_was_done(house: House, order: str) -> None:
    with pytest.raises(NoAnswer):
        authorize(house, order, "tok_too_slow")
    found = house.provider.lookup(f"{order}.1")
    assert found is not None
    assert found.is_done


def test_a_script_for_the_beginning_of_a_key_goes_before_the_cards(house: House, order: str) -> None:
    house.give(f"{order}.", "capture", CardScript(decline="do_not_honor"))
    house.give(f"{order}.3", None, CardScript(drops=2))
    reference = authorized(house, order, "tok_capture_declined")
    assert house.provider.capture(f"{order}.2", reference, 1).code == "do_not_honor"
    for _ in range(2):
        with pytest.raises(NoAnswer):
            house.provider.capture(f"{order}.3", reference, 1)
    assert house.provider.capture(f"{order}.3", reference, 1).is_done


def test_an_authorization_expires_and_tells_it(house: House, order: str) -> None:
    reference = authorized(house, order, "tok_expires")
    house.provider.capture(f"{order}.2", reference, 600)
    house.advance(11)
    expired = refused(f"{order}.1", "authorize", EXPIRED, reference)
    assert webhooks(house, f"{order}.1", 2)[-1][1] == expired == house.provider.lookup(f"{order}.1")
    assert house.provider.capture(f"{order}.3", reference, 1).code == EXPIRED
    assert house.provider.refund(f"{order}.4", reference, 600).is_done
    assert [each.was_done_minor for each in entries(house, order)] == [CENTS, 600, 600]


def test_an_authorization_of_which_nothing_is_held_does_not_expire(house: House, order: str) -> None:
    reference = authorized(house, order, "tok_expires")
    house.provider.capture(f"{order}.2", reference, CENTS)
    house.advance(11)
    found = house.provider.lookup(f"{order}.1")
    assert found is not None
    assert found.is_done


def test_a_void_of_what_expired_silently_is_refused_and_a_lookup_says_why(house: House, order: str) -> None:
    reference = authorized(house, order, "tok_expires_silently")
    house.advance(11)
    assert house.provider.void(f"{order}.2", reference).code == EXPIRED
    found = house.provider.lookup(f"{order}.1")
    assert found is not None
    assert (found.is_done, found.code) == (False, EXPIRED)
    house.told(1, f'"{order}.2"')
    assert house.told(0, f'"{order}.1"') == []


def test_a_refund_that_fails_days_later_can_be_made_again(house: House, order: str) -> None:
    reference = authorized(house, order, "tok_refund_fails")
    house.provider.capture(f"{order}.2", reference, CENTS)
    assert house.provider.refund(f"{order}.3", reference, CENTS).is_done
    house.advance(3 * DAY_S + 1)
    failed = refused(f"{order}.3", "refund", "refund_failed", reference)
    assert webhooks(house, f"{order}.3", 2)[-1][1] == failed == house.provider.lookup(f"{order}.3")
    assert house.provider.refund(f"{order}.4", reference, CENTS).is_done
    house.advance(3 * DAY_S + 1)
    again = house.provider.lookup(f"{order}.4")
    assert again is not None
    assert again.is_done


def test_what_becomes_of_every_operation_is_told_signed(house: House, order: str) -> None:
    outcome = authorize(house, order)
    [(_, told)] = webhooks(house, f"{order}.1")
    assert told == outcome
    [(headers, body)] = house.told(1, f'"{order}.1"')
    for wrong in (body + b" ", body.replace(b"succeeded", b"failed")):
        with pytest.raises(BadSignature):
            house.provider.parse_webhook(headers, wrong, datetime.now(UTC))


def test_an_event_that_is_told_twice_has_one_id(house: House, order: str) -> None:
    outcome = authorize(house, order, "tok_webhooks_twice")
    first, second = webhooks(house, f"{order}.1", 2)
    assert first == second == (first[0], outcome)


def test_two_events_have_two_ids(house: House, order: str) -> None:
    reference = authorized(house, order)
    house.provider.void(f"{order}.2", reference)
    assert webhooks(house, f"{order}.1")[0][0] != webhooks(house, f"{order}.2")[0][0]


def test_a_webhook_may_come_after_those_of_what_follows(house: House, order: str) -> None:
    reference = authorized(house, order, "tok_webhooks_disordered")
    house.provider.capture(f"{order}.2", reference, 1)
    assert len(house.told(1, f'"{reference}"')) == 1
    house.advance(11)
    kinds = [house.provider.parse_webhook(*each, datetime.now(UTC)).outcome.kind for each in house.told(2, f'"{reference}"')]
    assert kinds == ["capture", "authorize"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id": "evt_1", "operation": {"id": "o.1", "kind": "steal"}}'])
def test_a_message_that_is_signed_and_no_event_is_malformed(house: House, body: bytes) -> None:
    """Whatever provider it is: both have their secrets here."""
    secret = SECRET if isinstance(house.provider, MemoryProvider) else SECRETS[0]
    with pytest.raises(Malformed):
        house.provider.parse_webhook(sign(body, [secret], time()), body, datetime.now(UTC))


# ------------------------------------------------------------------------------------------ of the simulator alone


def test_a_webhook_may_come_before_the_answer(simulator: Simulator, order: str) -> None:
    house = of_simulator(simulator)
    authorize(house, order, "tok_webhooks_first")
    assert [each for each in simulator.receiver.messages if f'"{order}.1"'.encode() in each[1]]


def test_a_late_answer_comes_when_its_clock_says_so(simulator: Simulator, order: str) -> None:
    house = of_simulator(simulator)
    house.give(f"{order}.1", None, CardScript(delay_s=1_000))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(authorize, house, order)
        house.told(1, f'"{order}.1"')
        assert not held.done()
        house.advance(1_000)
        assert held.result().is_done


def test_a_webhook_that_is_not_taken_comes_again(simulator: Simulator, order: str) -> None:
    simulator.receiver.refusals = 2
    authorize(of_simulator(simulator), order)
    simulator.receiver.wait_for(1, f'"{order}.1"')
    assert simulator.receiver.refusals == 0


def test_the_ledger_comes_in_pages(simulator: Simulator, order: str) -> None:
    house = of_simulator(simulator)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: authorize(house, order, number=number), range(1, 1_003)))
    assert len(entries(house, order)) == 1_002


def test_without_its_key_nobody_is_served(simulator: Simulator, order: str) -> None:
    stranger = SimulatedProvider(simulator.company.url, "another key", SECRETS)
    with pytest.raises(NoAnswer, match="401"):
        stranger.lookup(f"{order}.1")
    with pytest.raises(NoAnswer, match="401"):
        list(stranger.ledger())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"order_id": "o", "amount_minor": 0, "currency": "USD", "token": "tok_approved"},
        {"order_id": "o", "amount_minor": 1.5, "currency": "USD", "token": "tok_approved"},
        {"order_id": "o", "amount_minor": "1", "currency": "USD", "token": "tok_approved"},
        {"order_id": "o", "amount_minor": 2**53, "currency": "USD", "token": "tok_approved"},
        {"order_id": "o", "amount_minor": 1, "currency": "usd", "token": "tok_approved"},
        {"order_id": "o", "amount_minor": 1, "currency": "USD", "token": "tok_approved", "number": "4242424242424242"},
    ],
)
def test_what_cant_be_meant_is_refused_and_not_kept(simulator: Simulator, order: str, body: dict[str, Any]) -> None:
    answer = simulator.company.post("/authorizations", body, **{"Idempotency-Key": f"{order}.1"})
    assert answer.status_code == 422
    assert of_simulator(simulator).provider.lookup(f"{order}.1") is None


def test_an_operation_without_a_key_is_refused(simulator: Simulator) -> None:
    body = {"order_id": "o", "amount_minor": 1, "currency": "USD", "token": "tok_approved"}
    assert simulator.company.post("/authorizations", body).status_code == 400


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_test_card_has_its_token(simulator: Simulator, card: Any) -> None:
    """Which a customer's browser gets: it has no key of ours."""
    spaced = " ".join(card.number[start : start + 4] for start in range(0, 16, 4))
    answer = requests.post(f"{simulator.company.url}/tokens", json={"number": spaced}, timeout=5)
    assert answer.json() == {"token": card.token}


@pytest.mark.parametrize("number", ["", "4242", "4242424242424241", "٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢"])
def test_what_is_no_cards_number_has_no_token(simulator: Simulator, number: str) -> None:
    answer = requests.post(f"{simulator.company.url}/tokens", json={"number": number}, timeout=5)
    assert answer.status_code == 422
    assert number == "" or number not in answer.text


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path, order: str) -> None:
    """Neither operations, nor scripts, nor what time it is, nor what is still to be told."""
    with ExitStack() as stack:
        server = stack.enter_context(receiver())
        company = Company("provider", tmp_path, server.url)
        company.start()
        house = of_simulator(Simulator(company, server))
        house.give(f"{order}.2", None, CardScript(decline="do_not_honor"))
        house.give(f"{order}.1", None, CardScript(webhooks=(10_000,)))
        reference = authorized(house, order)
        house.advance(9_000)
        company.kill()
        company.start()
        stack.callback(company.stop)
        assert house.provider.capture(f"{order}.2", reference, 1).code == "do_not_honor"
        assert authorize(house, order).reference == reference
        house.advance(1_000)
        [(_, told)] = webhooks(house, f"{order}.1")
        assert told.reference == reference
