"""The services' stores and the views in memory, for tests without servers.

They pass the same contract tests as the real ones: tests/contract/test_service_stores.py, test_reading_views.py.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from typing import Any, TypeVar

import orjson

from api.catalog import rules as catalog
from api.catalog.rules import Product
from api.catalog.store import Catalog
from api.inventory import rules as inventory
from api.inventory.rules import Stock
from api.inventory.store import Inventory
from api.orders import rules as orders
from api.orders.placing import Price
from api.orders.store import Orders, PricesMoved
from api.payments.store import Payments
from api.shipping.store import Shipping
from kernel import aggregates
from kernel.aggregates import Aggregates, Changed, Kept, dumps
from kernel.answers import AlreadyAnswered, Answer, Command
from kernel.audit import Note
from kernel.database import Database
from kernel.deadlines import Due
from kernel.partition import partition_of
from kernel.refusals import Parked, Unavailable
from kernel.steps import steps_after
from kernel.tasks import Task
from schemas.event import Event
from schemas.json import typed
from streams.engine.consumer import Row, View
from streams.engine.indexes import Range, entries_of
from streams.engine.reader import ANY, After, Page, Views
from tests.events import CODEC, START

Store = TypeVar("Store")


class Published(list[Event]):
    """What was published, in order. An event whose data does not fit its schema is refused, as by the outbox."""

    def add(self, events: Sequence[Event]) -> None:
        for event in events:
            CODEC.encode(event.type, event.data)
        self.extend(events)


class Answers(dict[tuple[str, ...], Answer]):
    """The answers that were kept, by what names their commands."""

    def keep(self, answer: Answer | None) -> None:
        if answer is None:
            return
        if answer.command[:3] in self:
            raise AlreadyAnswered
        self[answer.command[:3]] = answer


class MemoryDatabase(Database[Store]):
    """One store, which has `answers`; a transaction that raises leaves it as it was."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def answer(self, command: Command) -> Answer | None:
        answers: Answers = self.store.answers  # type: ignore[attr-defined]
        return answers.get(command[:3])

    @contextmanager
    def statements(self) -> Iterator[Store]:
        yield self.store

    @contextmanager
    def transaction(self) -> Iterator[Store]:
        before = deepcopy(vars(self.store))
        try:
            yield self.store
        except BaseException:
            vars(self.store).update(before)
            raise

    def ping(self) -> None:
        """Always there."""


class MemoryCatalog(Catalog):
    def __init__(self) -> None:
        self.products: dict[str, Product] = {}
        self.answers = Answers()
        self.published = Published()

    def lock(self, sku: str) -> Product | None:
        return self.products.get(sku)

    def create(self, event: Event, answer: Answer | None) -> bool:
        if event.key in self.products:
            return False
        self.update(event, answer)
        return True

    def create_many(self, events: Sequence[Event]) -> list[Event]:
        new = [event for event in events if event.key not in self.products]
        self.products |= {event.key: catalog.evolve(event) for event in new}
        return new

    def publish(self, events: Sequence[Event], answer: Answer | None) -> None:
        if events:
            self.answers.keep(answer)
            self.published.add(events)

    def update(self, event: Event, answer: Answer | None) -> None:
        self.publish([event], answer)
        self.products[event.key] = catalog.evolve(event)


class MemoryAggregates(Aggregates[Any, Any]):
    """Aggregates as JSON would give them back; `of_store` has what was published, and the answers."""

    def __init__(self, of_store: Any, schema: str, evolve: Callable[[Any], Any] = lambda event: event.data) -> None:
        self._store = of_store
        self._schema = schema
        self._evolve = evolve
        self.kept: dict[str, Kept[Any]] = {}

    def lock(self, ids: Collection[str]) -> dict[str, Kept[Any]]:
        return {id_: self.kept[id_] for id_ in sorted(ids) if id_ in self.kept}

    def lock_or_add(self, ids: Collection[str]) -> dict[str, Kept[Any]]:
        self.kept = {id_: Kept(id_, 0, None, {}, [], START) for id_ in ids} | self.kept
        return self.lock(ids)

    def save(self, changes: Collection[Changed[Any]], answer: Answer | None = None) -> None:
        if any(change.events for change in changes):
            self._store.answers.keep(answer)
        for before, events, notes in changes:
            assert self.kept[before.id] is before, "it was not locked, or has been saved since"
            after = before._replace(notes=orjson.loads(dumps(notes)))
            if events:
                assert [event.version for event in events] == list(range(before.version + 1, before.version + len(events) + 1))
                state = typed(self._schema, orjson.loads(dumps(self._evolve(events[-1]))))
                steps = steps_after(before.steps, events)
                after = after._replace(version=events[-1].version, state=state, steps=steps, updated_at=events[-1].occurred_at)
            self.kept[before.id] = after
        self._store.published.add([event for change in changes for event in change.events])

    def add(self, event: Event) -> None:
        """One that is made with its first event."""
        first = Kept(event.key, 0, None, {}, [], START)
        self.kept[event.key] = first
        self.save([Changed(first, [event], {})])


class _Commands:
    """What every store of these has: deadlines, tasks, what was told, what was done by hand."""

    def __init__(self) -> None:
        self.answers = Answers()
        self.published = Published()
        self.due: dict[tuple[str, str], datetime] = {}
        self.tasks: dict[str, Task] = {}
        self.told: set[str] = set()
        self.notes: list[Note] = []

    def clear(self, name: str, ids: Collection[str]) -> None:
        for id_ in ids:
            self.due.pop((name, id_), None)

    def set(self, dues: Collection[Due]) -> None:
        self.due |= {(due.name, due.aggregate_id): due.due_at for due in dues}

    def ask(self, wanted: Sequence[Task], now: datetime) -> None:
        self.tasks = {task.id: task for task in wanted} | self.tasks

    def done(self, task_ids: Collection[str], now: datetime) -> dict[str, str | None]:
        return {task_id: self.tasks.pop(task_id).traceparent for task_id in task_ids if task_id in self.tasks}

    def note(self, note: Note) -> None:
        self.notes.append(note)

    def keep_webhook(self, id_: str, about: str, body: bytes, now: datetime) -> bool:
        is_new = id_ not in self.told
        self.told.add(id_)
        return is_new


class MemoryInventory(Inventory):
    reservations: MemoryAggregates

    def __init__(self) -> None:
        self.stocks: dict[str, Stock] = {}
        self.answers = Answers()
        self.published = Published()
        self.reservations: MemoryAggregates = MemoryAggregates(self, "ReservationMade", inventory.reservation_after)

    def lock(self, skus: Collection[str]) -> dict[str, Stock]:
        return {sku: self.stocks[sku] for sku in skus if sku in self.stocks}

    def lock_or_add(self, skus: Collection[str]) -> dict[str, Stock]:
        self.stocks = {sku: Stock(sku) for sku in skus} | self.stocks
        return self.lock(skus)

    def change(self, event: Event, answer: Answer | None) -> None:
        self.save([event], event.occurred_at, answer)

    def save(self, events: Sequence[Event], now: datetime, answer: Answer | None = None) -> None:
        if events:
            self.answers.keep(answer)
        self.published.add(events)
        self.stocks |= inventory.stock_after(events)


class MemoryOrders(_Commands, Orders):
    orders: MemoryAggregates
    exchanges: MemoryAggregates

    def __init__(self) -> None:
        super().__init__()
        self.copied: dict[str, tuple[int, Price, bool]] = {}
        self.lines: dict[str, list[Any]] = {}
        self.orders: MemoryAggregates = MemoryAggregates(self, "OrderConfirmed", lambda event: orders.evolve(event).state)
        self.exchanges: MemoryAggregates = MemoryAggregates(self, "ExchangeRequested")

    def prices(self, skus: Collection[str]) -> dict[str, Price]:
        known = {sku: self.copied[sku] for sku in skus if sku in self.copied}
        return {sku: price for sku, (_, price, is_archived) in known.items() if not is_archived}

    def copy_prices(self, products: Sequence[Event]) -> None:
        for event in products:
            price = Price(event.version, *(event.data[name] for name in Price._fields[1:]))
            known, *_ = self.copied.get(event.key, (0, None, None))
            if event.version > known:
                self.copied[event.key] = (event.version, price, event.type == "ProductArchived")

    def place(self, event: Event, answer: Answer | None, prices: Mapping[str, Price]) -> None:
        if any(price.version != self.copied.get(sku, [0])[0] for sku, price in prices.items()):
            raise PricesMoved
        self.answers.keep(answer)
        self.set([Due(event.key, "pay_by", event.data["pay_by"])])
        self.lines[event.key] = deepcopy(event.data["lines"])
        self.orders.add(event)

    def add_exchange(self, event: Event, by: Due, answer: Answer | None) -> None:
        self.answers.keep(answer)
        self.set([by])
        self.exchanges.add(event)

    def shown(self, kept: Kept[Any]) -> dict[str, Any]:
        return aggregates.shown(kept, lines=self.lines[kept.id])


class MemoryPayments(_Commands, Payments):
    payments: MemoryAggregates

    def __init__(self) -> None:
        super().__init__()
        self.payments: MemoryAggregates = MemoryAggregates(self, "PaymentSettled")
        self.given_up: set[str] = set()

    def retry(self, task_id: str, now: datetime) -> bool:
        was_given_up = task_id in self.given_up
        self.given_up.discard(task_id)
        return was_given_up


class MemoryShipping(_Commands, Shipping):
    fulfilments: MemoryAggregates
    returns: MemoryAggregates

    def __init__(self) -> None:
        super().__init__()
        self.fulfilments: MemoryAggregates = MemoryAggregates(self, "ShipmentsPlanned")
        self.returns: MemoryAggregates = MemoryAggregates(self, "ReturnRequested")
        self.labels: dict[str, tuple[str, int]] = {}

    def keep_label(self, tracking: str, order_id: str, shipment: int) -> None:
        self.labels.setdefault(tracking, (order_id, shipment))

    def labelled(self, tracking: str) -> tuple[str, int] | None:
        return self.labels.get(tracking)


class MemoryViews(Views):
    """Views that hold what `apply` and `put` were told. Nothing comes while a read waits, so none does."""

    def __init__(self, views: Collection[View], partitions: int = 4) -> None:
        self._views = {view.name: view for view in views}
        self._rows: dict[str, list[dict[str, bytes]]] = {
            name: [{} for _ in range(partitions)] for name in self._views
        }
        self._partitions = partitions
        self._versions: dict[str, dict[str, int]] = {name: {} for name in self._views}
        self.parked: set[tuple[str, str]] = set()

    def apply(self, event: Event, topic: str) -> None:
        """Folds an event into every view of its topic."""
        partition = partition_of(event.key, self._partitions)
        for view in self._views.values():
            if view.topic == topic:
                key = view.key(event)
                before = self._rows[view.name][partition].get(key)
                row = view.fold(orjson.loads(before) if before else None, event)
                self.put(view.name, partition, {key: row}, {event.key: event.version})

    def put(
        self, view: str, partition: int, rows: Mapping[str, Row | None], versions: Mapping[str, int] | None = None
    ) -> None:
        """Sets rows, None deletes one; and versions of aggregates."""
        self._versions[view] |= versions or {}
        held = self._rows[view][partition]
        held.update({key: orjson.dumps(row) for key, row in rows.items() if row is not None})
        for key in [key for key, row in rows.items() if row is None]:
            held.pop(key, None)

    def _check(self, view: str, after: After) -> None:
        for topic, key, version in after.versions:
            if self._versions[view].get(key, 0) < version:
                raise (Parked if (view, key) in self.parked else Unavailable)(f"{topic}: {key}")

    def many(self, view: str, keys: Sequence[str], after: After = ANY) -> list[bytes | None]:
        self._check(view, after)
        return [self._rows[view][partition_of(key, self._partitions)].get(key) for key in keys]

    def of_several(self, wanted: Sequence[tuple[str, str, After]]) -> list[bytes | None]:
        return [self.get(view, key, after) for view, key, after in wanted]

    def page(self, view: str, wanted: Range, limit: int, behind: str | None = None, after: After = ANY) -> Page:
        self._check(view, after)
        lower, upper = wanted.bounds(behind)
        indexes = self._views[view].indexes
        found = sorted(
            (
                (entry, row)
                for held in self._rows[view]
                for key, row in held.items()
                for entry in entries_of(indexes, key, orjson.loads(row))
                if lower < entry < upper
            ),
            reverse=wanted.descending,
        )
        place = wanted.place(found[limit - 1][0]) if len(found) > limit else None
        return Page([row for _, row in found[:limit]], place)
