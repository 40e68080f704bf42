"""What counts as a difference: with sides that are written here, changed from one look to the next."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg2
import pytest

from api.services import consumers, services
from kernel.partition import partition_of
from ops import barrier as barriers
from ops import states
from ops.states import Part, States
from ops.verify import MISSING, WHOLE_ROW, Difference, compare
from streams.engine.consumer import Row, consumer_id
from streams.engine.stores import Progress

Rows = dict[str, Row]
WITH_DATABASE = [each.name for each in services() if each.has_database]


class Comparisons:
    """One view, whose two sides are the next of `looks`; the last of them stays."""

    def __init__(self, *looks: tuple[Rows, Rows]) -> None:
        self.looks = list(looks)
        self.taken = 0

    def parts(self, names: Collection[str] | None = None) -> Iterator[tuple[str, list[Part]]]:
        expected, actual = self.looks[min(self.taken, len(self.looks) - 1)]
        self.taken += 1
        yield "view.order", [Part(0, expected.items(), actual.items())]


class Barrier:
    """Is complete when it has been asked so many times."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    def is_passed(self) -> bool:
        self.left -= 1
        return self.left <= 0


def no_pause() -> None:
    """Time does not matter here."""


def found(sides: Comparisons, barrier: int = 3) -> list[Difference]:
    verified = compare(sides, lambda names: Barrier(barrier), no_pause)
    assert verified.totals()["differences"] == len({difference.key for difference in verified.differences})
    return verified.differences


def test_equal_sides_are_looked_at_once() -> None:
    sides = Comparisons(({"a": {"version": 1}}, {"a": {"version": 1}}))
    assert found(sides) == []
    assert sides.taken == 1


def test_the_order_of_fields_and_the_type_of_times_do_not_matter() -> None:
    moment = datetime(2026, 11, 21, 6, 47, 0, 1, UTC)
    order_id = "0190a000-0000-7000-8000-000000000000"
    expected = {"a": {"id": order_id, "at": moment}}
    assert found(Comparisons((expected, {"a": {"at": moment.replace(tzinfo=None), "id": UUID(order_id)}}))) == []


def test_a_changed_field_is_named_with_both_values() -> None:
    sides = Comparisons(({"a": {"version": 2, "status": "confirmed"}}, {"a": {"version": 2, "status": "placed"}}))
    assert found(sides) == [Difference("view.order", "a", "status", "confirmed", "placed")]


def test_a_field_without_a_value_is_not_the_same_as_no_field() -> None:
    sides = Comparisons(({"a": {"version": 1, "reason": None}}, {"a": {"version": 1}}))
    assert found(sides) == [Difference("view.order", "a", "reason", None, MISSING)]


def test_a_row_of_one_side_is_a_difference_as_a_whole() -> None:
    sides = Comparisons(({"a": {"version": 1}}, {"b": {"version": 1}}))
    assert found(sides) == [
        Difference("view.order", "a", WHOLE_ROW, {"version": 1}, None),
        Difference("view.order", "b", WHOLE_ROW, None, {"version": 1}),
    ]


def test_what_arrives_late_is_no_difference() -> None:
    """And nothing is waited for once it has arrived."""
    late = Comparisons(({"a": {"version": 1}}, {}), ({"a": {"version": 1}}, {"a": {"version": 1}}))
    assert found(late, barrier=1_000) == []
    assert late.taken == 2


def test_what_keeps_moving_is_no_difference() -> None:
    """Each look finds the view one version behind: what it lacked at the look before, it has."""
    moving = Comparisons(*(({"a": {"version": n + 1}}, {"a": {"version": n}}) for n in range(5)))
    assert found(moving) == []


def test_only_one_side_moving_is_no_difference() -> None:
    """The view was ahead of what was read of PostgreSQL, then behind: it has the same row both times."""
    sides = Comparisons(
        ({"a": {"version": 1}}, {"a": {"version": 2}}), ({"a": {"version": 3}}, {"a": {"version": 2}})
    )
    assert found(sides, barrier=1) == []


def test_a_difference_stands_only_when_everything_has_passed() -> None:
    """Looks go on for as long as what there was at the first one is under way."""
    sides = Comparisons(*[({"a": {"version": 1}}, {})] * 5, ({"a": {"version": 1}}, {"a": {"version": 1}}))
    assert found(sides, barrier=6) == []
    sides.taken = 0
    assert len(found(sides, barrier=4)) == 1


def test_the_last_row_of_a_key_counts() -> None:
    """A scan of Redis may give a row before and after it changed."""

    class Scanned(Comparisons):
        def parts(self, names: Collection[str] | None = None) -> Iterator[tuple[str, list[Part]]]:
            yield (
                "view.order",
                [Part(0, [("a", {"version": 2})], [("a", {"version": 1}), ("a", {"version": 2})])],
            )

    assert found(Scanned()) == []


def test_the_same_key_in_two_partitions_is_two_rows() -> None:
    class Spread(Comparisons):
        def parts(self, names: Collection[str] | None = None) -> Iterator[tuple[str, list[Part]]]:
            yield (
                "view.order",
                [Part(0, [("a", {"n": 1})], [("a", {"n": 1})]), Part(1, [("a", {"n": 2})], [])],
            )

    assert found(Spread()) == [Difference("view.order", "a", WHOLE_ROW, {"n": 2}, None)]


def test_states_are_kept_by_partition(tmp_path: Path) -> None:
    states = States(tmp_path, 4)
    states.keep((f"order-{n}", f'{{"n": {n}}}') for n in range(100))
    for partition in range(4):
        expected = [n for n in range(100) if partition_of(f"order-{n}", 4) == partition]
        assert [state["n"] for state in states.of(partition)] == expected
    assert sorted(state["n"] for state in states.every()) == list(range(100))


@pytest.fixture
def _servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every service has its database on a server of its own."""
    monkeypatch.setenv("MAREA_ADMIN_DATABASE_URL", "postgresql://admin:pw@anywhere/marea")
    for name in WITH_DATABASE:
        monkeypatch.setenv(f"MAREA_{name.upper()}_DATABASE_URL", f"postgresql://{name}:theirs@{name}.example:6432/shop")


@pytest.mark.usefixtures("_servers")
@pytest.mark.parametrize("service", WITH_DATABASE)
def test_states_are_read_where_the_service_has_its_database(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    asked: list[str] = []

    def connect(url: str, **options: object) -> None:
        asked.append(url)
        raise psycopg2.OperationalError

    monkeypatch.setattr(psycopg2, "connect", connect)
    with pytest.raises(psycopg2.OperationalError), states.read_rows(service, "SELECT 1"):
        pass
    assert asked == [f"postgresql://admin:pw@{service}.example:6432/shop"]


@pytest.mark.usefixtures("_servers")
@pytest.mark.parametrize("late", [None, *WITH_DATABASE])
def test_nothing_has_passed_until_the_relays_of_all_databases_have(
    monkeypatch: pytest.MonkeyPatch, late: str | None
) -> None:
    def ask(url: str, query: str, *lsn: str) -> str | bool:
        return f"{late}.example" not in url if lsn else "0/7"

    monkeypatch.setenv("MAREA_KAFKA", "nowhere:1")
    monkeypatch.setenv("MAREA_PARTITIONS", "1")
    monkeypatch.setattr(barriers, "_ask", ask)
    monkeypatch.setattr(barriers, "admin_client", lambda servers: None)
    monkeypatch.setattr(barriers, "topic_ends", lambda kafka, topic: {0: 3})
    monkeypatch.setattr(barriers, "progress", lambda: {consumer_id(each): {0: Progress(3)} for each in consumers()})
    assert barriers.Barrier(["view.order"]).is_passed() == (late is None)
