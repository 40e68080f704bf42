"""What a carrier does: the simulator, in a process of its own and through its adapter, and its twin in memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import uuid4

import pytest

from api.shipping.carrier import Carrier, Scan
from api.shipping.simulated import SimulatedCarrier
from api.web.webhooks import BadSignature
from demo.carrier.parcels import ParcelScript, PlannedScan
from kernel.tasks import NoAnswer
from tests.companies import KEY, SECRETS, Company, Message, Receiver, receiver
from tests.memory_carrier import MemoryCarrier

DAY_S = 1_000.0


class House(NamedTuple):
    """A carrier, and what tests may have of it beside. `told` waits for so many webhooks about something."""

    carrier: Carrier
    give: Callable[[str, Literal["book", "hand_over"] | None, ParcelScript], None]
    advance: Callable[[float], None]
    told: Callable[[int, str], Sequence[Message]]


class Simulator(NamedTuple):
    company: Company
    receiver: Receiver


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with receiver() as server:
        company = Company("carrier", tmp_path_factory.mktemp("carrier"), server.url, "--day-s", str(DAY_S))
        company.start()
        yield Simulator(company, server)
        company.stop()


def of_simulator(simulator: Simulator) -> House:
    company = simulator.company

    def give(prefix: str, kind: Literal["book", "hand_over"] | None, script: ParcelScript) -> None:
        content = {"prefix": prefix, "kind": kind, "script": script.model_dump(mode="json")}
        assert company.post("/scripts", content).ok

    def advance(seconds: float) -> None:
        assert company.post("/clock", {"advance_s": seconds}).ok

    carrier = SimulatedCarrier(company.url, KEY, SECRETS)
    return House(carrier, give, advance, simulator.receiver.wait_for)


def of_twin() -> House:
    twin = MemoryCarrier(day_s=DAY_S)
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
def parcel() -> str:
    """A parcel of the test's own."""
    return f"o-{uuid4().hex[:12]}.1"


def sent(house: House, parcel: str) -> str:
    """The number of a parcel that is on its way."""
    tracking = house.carrier.book(parcel, parcel).tracking
    house.carrier.hand_over(f"{parcel} handed over", tracking)
    return tracking


def scans(house: House, tracking: str, number: int = 1) -> list[Scan]:
    messages = house.told(number, f'"{tracking}"')
    return [house.carrier.parse_webhook(*message, datetime.now(UTC)) for message in messages]


def test_a_label_is_made_once_however_often_it_is_asked_for(house: House, parcel: str) -> None:
    booked = house.carrier.book("key of " + parcel, parcel)
    assert booked.days == 2
    assert house.carrier.book("key of " + parcel, parcel) == booked
    assert house.carrier.book("another key of " + parcel, parcel).tracking != booked.tracking


def test_a_key_is_of_one_parcel_and_of_no_other(house: House, parcel: str) -> None:
    house.carrier.book("key of " + parcel, parcel)
    with pytest.raises(NoAnswer):
        house.carrier.book("key of " + parcel, "another")


def test_a_label_goes_nowhere_before_its_parcel_is_handed_over(house: House, parcel: str) -> None:
    tracking = house.carrier.book(parcel, parcel).tracking
    house.advance(100 * DAY_S)
    assert house.carrier.lookup(tracking) is None
    house.carrier.hand_over(f"{parcel} handed over", tracking)
    assert house.carrier.lookup(tracking) is None


def test_a_parcel_is_delivered_after_its_days_and_tells_it(house: House, parcel: str) -> None:
    tracking = sent(house, parcel)
    house.advance(2 * DAY_S)
    [scan] = scans(house, tracking)
    assert (scan.tracking, scan.what) == (tracking, "delivered")
    assert house.carrier.lookup(tracking) == scan


def test_a_parcel_that_is_handed_over_twice_goes_once(house: House, parcel: str) -> None:
    tracking = sent(house, parcel)
    house.advance(DAY_S)
    sent(house, parcel)
    house.carrier.hand_over("another key of " + parcel, tracking)
    house.advance(DAY_S)
    assert len(scans(house, tracking)) == 1


def test_a_parcel_may_be_lost(house: House, parcel: str) -> None:
    house.give(parcel, None, ParcelScript(days=5, scans=(PlannedScan(what="lost", after_s=7),)))
    assert house.carrier.book(parcel, parcel).days == 5
    tracking = sent(house, parcel)
    house.advance(7)
    assert [scan.what for scan in scans(house, tracking)] == ["lost"]


def test_a_lost_parcel_may_be_delivered_after_all(house: House, parcel: str) -> None:
    both = (PlannedScan(what="lost", after_s=5), PlannedScan(what="delivered", after_s=10))
    house.give(parcel, None, ParcelScript(scans=both))
    tracking = sent(house, parcel)
    house.advance(5)
    [lost] = scans(house, tracking)
    assert house.carrier.lookup(tracking) == lost
    house.advance(5)
    first, second = scans(house, tracking, 2)
    assert (first, second.what) == (lost, "delivered")
    assert first.id != second.id
    assert house.carrier.lookup(tracking) == second


def test_nothing_may_ever_be_heard_of_a_parcel(house: House, parcel: str) -> None:
    house.give(parcel, None, ParcelScript(scans=()))
    tracking = sent(house, parcel)
    house.advance(365 * DAY_S)
    assert house.carrier.lookup(tracking) is None


def test_a_scan_may_be_known_and_not_told(house: House, parcel: str) -> None:
    house.give(parcel, None, ParcelScript(webhooks=()))
    tracking = sent(house, parcel)
    house.advance(2 * DAY_S)
    scan = house.carrier.lookup(tracking)
    assert scan is not None
    assert scan.what == "delivered"
    assert house.told(0, f'"{tracking}"') == []


def test_a_scan_that_is_told_twice_has_one_id(house: House, parcel: str) -> None:
    house.give(parcel, None, ParcelScript(webhooks=(0, 3)))
    tracking = sent(house, parcel)
    house.advance(2 * DAY_S + 3)
    first, second = scans(house, tracking, 2)
    assert first == second


def test_what_was_done_and_not_answered_is_done_once(house: House, parcel: str) -> None:
    house.give(parcel, None, ParcelScript(drops=1))
    with pytest.raises(NoAnswer):
        house.carrier.book(parcel, parcel)
    tracking = house.carrier.book(parcel, parcel).tracking
    with pytest.raises(NoAnswer):
        house.carrier.hand_over(f"{parcel} handed over", tracking)
    house.advance(2 * DAY_S)
    assert house.carrier.lookup(tracking) == scans(house, tracking)[0]


def test_what_fails_so_many_times_is_not_done_before(house: House, parcel: str) -> None:
    tracking = house.carrier.book(parcel, parcel).tracking
    house.give(parcel, "hand_over", ParcelScript(errors=2))
    for _ in range(2):
        with pytest.raises(NoAnswer):
            house.carrier.hand_over(f"{parcel} handed over", tracking)
    house.advance(2 * DAY_S)
    assert house.carrier.lookup(tracking) is None
    house.carrier.hand_over(f"{parcel} handed over", tracking)
    house.advance(2 * DAY_S)
    assert house.carrier.lookup(tracking) is not None


def test_a_parcel_that_is_not_there_cant_be_handed_over(house: House, parcel: str) -> None:
    with pytest.raises(NoAnswer):
        house.carrier.hand_over(parcel, f"of/nobody {parcel}")
    assert house.carrier.lookup(f"of/nobody {parcel}") is None


def test_a_scan_that_was_changed_on_its_way_is_refused(house: House, parcel: str) -> None:
    tracking = sent(house, parcel)
    house.advance(2 * DAY_S)
    [(headers, body)] = house.told(1, f'"{tracking}"')
    with pytest.raises(BadSignature):
        house.carrier.parse_webhook(headers, body.replace(b"delivered", b"lost"), datetime.now(UTC))


def test_a_kill_loses_no_parcel_and_no_scan(tmp_path: Path, parcel: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(receiver())
        company = Company("carrier", tmp_path, server.url, "--day-s", str(DAY_S))
        company.start()
        house = of_simulator(Simulator(company, server))
        tracking = sent(house, parcel)
        company.kill()
        company.start()
        stack.callback(company.stop)
        house.advance(2 * DAY_S)
        assert [scan.what for scan in scans(house, tracking)] == ["delivered"]
