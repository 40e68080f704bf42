"""The rules of the catalog: given a product, when a command comes, then this event or refusal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.catalog import rules
from api.catalog.rules import Product
from kernel.refusals import Conflict, Refused, Stale, Unknown
from tests.events import PRODUCT, START
from tests.unit.contexts import context

DESCRIPTION = {name: value for name, value in PRODUCT.items() if name != "sku"}
MILK = rules.evolve(rules.create("milk", DESCRIPTION, context()))._replace(version=3)
ARCHIVED = MILK._replace(archived=True)


def test_a_new_product_has_version_1_and_all_that_was_said_of_it() -> None:
    event = rules.create("milk", DESCRIPTION, context())
    assert (event.type, event.key, event.version, event.data) == ("ProductCreated", "milk", 1, PRODUCT)
    assert rules.evolve(event) == MILK._replace(version=1)


def test_an_event_has_the_time_and_trace_of_its_cause_and_an_id_of_its_own() -> None:
    event = rules.create("milk", DESCRIPTION, context())
    assert (event.id, event.occurred_at, event.traceparent) == ("event-1", START, context().traceparent)


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    event = rules.update("milk", MILK, {"price_minor": 1}, None, context())
    assert (event.type, event.version, event.data) == ("ProductUpdated", 4, PRODUCT | {"price_minor": 1})


def test_archiving_keeps_the_description_and_ends_all_change() -> None:
    event = rules.archive("milk", MILK, {2, 3}, context())
    assert (event.type, event.version, event.data) == ("ProductArchived", 4, PRODUCT)
    archived = rules.evolve(event)
    assert archived.archived
    with pytest.raises(Conflict, match="archived"):
        rules.update("milk", archived, {"price_minor": 1}, None, context())
    with pytest.raises(Conflict, match="archived"):
        rules.archive("milk", archived, None, context())


@pytest.mark.parametrize(
    ("product", "expected", "refusal"),
    [(None, None, Unknown), (None, {3}, Unknown), (MILK, {2, 4}, Stale), (MILK, set(), Stale), (ARCHIVED, {2}, Stale)],
)
def test_what_does_not_exist_or_has_changed_since_is_refused(
    product: Product | None, expected: set[int] | None, refusal: type[Refused]
) -> None:
    with pytest.raises(refusal):
        rules.update("milk", product, {}, expected, context())
    with pytest.raises(refusal):
        rules.archive("milk", product, expected, context())


changes = st.fixed_dictionaries({}, optional={"name": st.just("Oat milk"), "price_minor": st.integers(0, 9)})


@given(st.lists(st.tuples(changes | st.none(), st.none() | st.sets(st.integers(0, 9)))))
def test_versions_are_contiguous_whatever_is_asked(
    commands: list[tuple[dict[str, Any] | None, set[int] | None]],
) -> None:
    """No changes: archive."""
    product = rules.evolve(rules.create("milk", DESCRIPTION, context()))
    for wanted, expected in commands:
        try:
            event = (
                rules.archive("milk", product, expected, context())
                if wanted is None
                else rules.update("milk", product, wanted, expected, context())
            )
        except Refused:
            continue
        assert event.version == product.version + 1
        product = rules.evolve(event)
