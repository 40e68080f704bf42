"""The services' stores and the views in memory, for tests without servers.

They pass the same contract tests as the real ones: tests/contract/test_service_stores.py, test_reading_views.py.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime
from typing import Any, TypeVar

import orjson

from api.catalog import rules as catalog
from api.catalog.rules import Product
from api.catalog.store import Catalog
from api.inventory import rules as inventory
from api.inventory.rules import Decision, Reservation, Stock
from api.inventory.store import Inventory
from api.orders import rules as orders
from api.orders.rules import Order, Price
from api.orders.store import Orders, PricesMoved
from kernel.answers import AlreadyAnswered, Answer, Command
from kernel.database import Database
from kernel.partition import partition_of
from kernel.refusals import Parked, Unavailable
from schemas.event import Event, iso_utc
from streams.engine.consumer import Row, View
from streams.engine.indexes import Range, entries_of
from streams.engine.reader import ANY, After, Page, Views
from tests.events import CODEC

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


class MemoryInventory(Inventory):
    def __init__(self) -> None:
        self.stocks: dict[str, Stock] = {}
        self.kept: dict[str, Reservation] = {}
        self.answers = Answers()
        self.published = Published()

    def lock(self, skus: Collection[str]) -> dict[str, Stock]:
        return {sku: self.stocks[sku] for sku in skus if sku in self.stocks}

    def lock_or_add(self, skus: Collection[str]) -> dict[str, Stock]:
        self.stocks = {sku: Stock(sku) for sku in skus} | self.stocks
        return self.lock(skus)

    def change(self, event: Event, answer: Answer | None) -> None:
        self.save([event], event.occurred_at, answer)

    def reservations(self, order_ids: Collection[str]) -> dict[str, Reservation]:
        return {order_id: self.kept[order_id] for order_id in order_ids if order_id in self.kept}

    def save(self, events: Sequence[Event], now: datetime, answer: Answer | None = None) -> None:
        if events:
            self.answers.keep(answer)
        self.published.add(events)
        self.stocks |= inventory.stock_after(events)

    def keep(self, decisions: Sequence[Decision], now: datetime) -> None:
        for decision in decisions:
            self.save(decision.stock, now)
            self.published.add([decision.event])
            self.kept[decision.reservation.order_id] = decision.reservation


class MemoryOrders(Orders):
    def __init__(self) -> None:
        self.copied: dict[str, tuple[int, Price, bool]] = {}
        self.orders: dict[str, Order] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self.answers = Answers()
        self.pay_by: dict[str, datetime] = {}
        self.published = Published()

    def prices(self, skus: Collection[str]) -> dict[str, Price]:
        known = {sku: self.copied[sku] for sku in skus if sku in self.copied}
        return {sku: price for sku, (_, price, is_archived) in known.items() if not is_archived}

    def copy_prices(self, products: Sequence[Event]) -> None:
        for event in products:
            price = Price(event.version, *(event.data[name] for name in Price._fields[1:]))
            known, *_ = self.copied.get(event.key, (0, None, None))
            if event.version > known:
                self.copied[event.key] = (event.version, price, event.type == "ProductArchived")

    def place(
        self, event: Event, pay_by: datetime, answer: Answer | None, prices: Mapping[str, Price]
    ) -> None:
        if any(price.version != self.copied.get(sku, [0])[0] for sku, price in prices.items()):
            raise PricesMoved
        self.answers.keep(answer)
        self.pay_by[event.key] = pay_by
        self.published.add([event])
        data = deepcopy(event.data)
        names = ("customer_id", "placed_at", "currency", "total_minor")
        fields = {name: data[name] for name in names}
        self.orders[event.key] = Order(
            id=event.key, version=1, status="placed", line_count=len(data["lines"]), **fields
        )
        self.rows[event.key] = {"lines": data["lines"], "reason": None, "updated_at": event.occurred_at}

    def clear_pay_by(self, order_ids: Collection[str]) -> None:
        for order_id in order_ids:
            self.pay_by.pop(order_id, None)

    def lock(self, order_ids: Collection[str]) -> dict[str, Order]:
        return {order_id: self.orders[order_id] for order_id in order_ids if order_id in self.orders}

    def change(self, order: Order, event: Event, answer: Answer | None) -> None:
        self.answers.keep(answer)
        self.change_many([(order, event)])

    def change_many(self, changes: Collection[tuple[Order, Event]]) -> None:
        self.published.add([event for _, event in changes])
        for order, event in changes:
            self.orders[order.id] = orders.evolve(order, event)
            self.rows[order.id] |= {"reason": event.data.get("reason"), "updated_at": event.occurred_at}

    def read(self, order_id: str) -> dict[str, Any]:
        order, row = self.orders[order_id], self.rows[order_id]
        return {
            "id": order.id,
            "version": order.version,
            "customer_id": order.customer_id,
            "status": order.status,
            "reason": row["reason"],
            "currency": order.currency,
            "total_minor": order.total_minor,
            "lines": row["lines"],
            "placed_at": iso_utc(order.placed_at),
            "updated_at": iso_utc(row["updated_at"]),
        }


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
