"""What has to agree over services: of each order, what one of them has written down with what another, or a company outside, has.

A line gives rows of what is right and of what is there, as a view has them; where they differ, money or goods have gone astray. Every
row tells the versions that it is made of, so one of an order that moves meanwhile does not stand still.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.engine.consumer import Row

#: What an order may become for good.
FINAL = frozenset({"completed", "cancelled", "rejected"})
#: Where a parcel is not in the house any more, and where it waits for those who work there.
_GONE = frozenset({"dispatched", "overdue", "delivered", "lost"})
_EXPIRED = frozenset({"expired", "gone"})
_SOMETHING, _NOTHING = "a deadline, a task, a case or staff", "nothing"


@dataclass
class Books:
    """What is written down of one order, or of one product; None where nothing is.

    `due` is what is to be paid, `money` what was, with the operations that were asked of a company outside, `parcels` what was sent,
    `reserved` what is kept for the order; `ledger` are the operations that the company has done. `stock` is of a product.
    """

    due: Row | None = None
    money: Row | None = None
    parcels: Row | None = None
    reserved: Row | None = None
    stock: Row | None = None
    ledger: list[Row] = field(default_factory=list)

    def add(self, name: str, row: Row) -> None:
        """Takes what a book says."""
        if name == "ledger":
            self.ledger.append(row)
        else:
            setattr(self, name, row)

    @property
    def at(self) -> Row:
        """The versions of all that it is made of."""
        every = {"due": self.due, "money": self.money, "parcels": self.parcels, "reserved": self.reserved}
        return {name: each["version"] if each else 0 for name, each in every.items()}

    @property
    def operations(self) -> Sequence[Row]:
        """What was asked of the company outside, as we know it."""
        return self.money["operations"] or () if self.money else ()

    @property
    def cases(self) -> int:
        """How much of it needs a person."""
        return sum(each["cases"] for each in (self.money, self.parcels) if each)


class Pair(NamedTuple):
    """A row as it has to be, and as it is; None is no row."""

    key: str
    expected: Row | None
    actual: Row | None


def ledger(order_id: str, books: Books) -> Iterator[Pair]:
    """What the company outside has done is what we know to be done, for as much; an authorization that expired was done, too.

    What it is asked for now, and what it contradicts itself about, is not compared: nobody knows. Nor is what somebody has ruled,
    who knew better than the company's books: the audit says why.
    """
    open_ = {
        each["operation_id"] for each in books.operations if each["state"] in ("unknown", "disputed") or each["code"] == "ruled"
    }
    if books.money and books.money["asked"]:
        open_.add(books.money["asked"])
    ours = {each["operation_id"]: _done(each, books.at) for each in books.operations if _was_done(each) and each["amount_minor"]}
    theirs = {each["operation_id"]: _done(each, books.at) for each in books.ledger if _was_done(each)}
    for id_ in sorted((ours.keys() | theirs.keys()) - open_):
        yield Pair(id_, ours.get(id_), theirs.get(id_))


def due(order_id: str, books: Books) -> Iterator[Pair]:
    """What we have and keep is what is due, once an order is final, and never more; captured is what was held, and no more is
    given back or sent. Not while money moves, or waits for a person.
    """
    if books.due is None or (books.money and (books.money["asked"] or books.money["tasks"] or books.money["cases"])):
        return
    due_minor, money = books.due["due_minor"], _sums(books)
    paid_minor = money["captured_minor"] - money["refunded_minor"] + money["written_off_minor"]
    sent_minor = _sent(books)
    right = {
        "paid_minor": due_minor if books.due["status"] in FINAL else min(paid_minor, due_minor),
        "captured_minor": min(money["captured_minor"], money["held_minor"]),
        "refunded_minor": min(money["refunded_minor"], money["captured_minor"] + money["written_off_minor"]),
        "sent_minor": min(sent_minor, money["captured_minor"] + books.due["given_up_minor"]),
    }
    there = {
        "paid_minor": paid_minor,
        "captured_minor": money["captured_minor"],
        "refunded_minor": money["refunded_minor"],
        "sent_minor": sent_minor,
    }
    yield Pair(order_id, {**right, "at": books.at}, {**there, "at": books.at})


def sent(order_id: str, books: Books) -> Iterator[Pair]:
    """Of each product, what has left the house is what was sent; the rest is free again once an order is final, and never below 0."""
    if books.due is None:
        return
    gone = _gone(books)
    lines = {each["sku"]: each for each in (books.reserved["lines"] or ())} if books.reserved else {}
    for sku in sorted(gone.keys() | lines.keys()):
        line = lines.get(sku, {"reserved": 0, "released": 0, "consumed": 0})
        left = line["reserved"] - line["released"] - line["consumed"]
        right = {"sent": gone[sku], "left": 0 if books.due["status"] in FINAL else max(0, left)}
        there = {"sent": line["consumed"], "left": left}
        yield Pair(f"{order_id}/{sku}", {**right, "at": books.at}, {**there, "at": books.at})


def stock(sku: str, books: Books) -> Iterator[Pair]:
    """What of a product is reserved is what orders have reserved."""
    if books.stock:
        at = {"version": books.stock["version"]}
        yield Pair(sku, {"reserved": books.stock["promised"], **at}, {"reserved": books.stock["reserved"], **at})


def waiting(order_id: str, books: Books) -> Iterator[Pair]:
    """An order that is not final waits for something that exists."""
    if books.due is None:
        return
    status = books.due["status"]
    found = None if status in FINAL else waits_for(books) or _NOTHING
    expected = _SOMETHING if found == _NOTHING else found
    yield Pair(
        order_id,
        {"status": status, "waits_for": expected, "at": books.at},
        {"status": status, "waits_for": found, "at": books.at},
    )


def waits_for(books: Books) -> str | None:
    """What an order waits for that is not final; None when there is nothing."""
    for each in (books.due, books.money, books.parcels):
        for what in ("deadlines", "tasks"):
            if each and each.get(what):
                return f"{what[:-1]} {min(each[what])}"
    if books.cases:
        return "a case"
    statuses = Counter(each["status"] for each in _shipments(books))
    return "staff" if statuses["planned"] or statuses["ready"] else None


#: By line, its rule: of one order, rows that have to be the same.
LINES: Mapping[str, Callable[[str, Books], Iterator[Pair]]] = {
    "money.ledger": ledger,
    "money.due": due,
    "goods.sent": sent,
    "goods.stock": stock,
    "order.waiting": waiting,
}


def _was_done(operation: Row) -> bool:
    return operation["state"] == "succeeded" or (operation["kind"] == "authorize" and operation["code"] in _EXPIRED)


def _done(operation: Row, at: Row) -> Row:
    return {name: operation[name] for name in ("kind", "amount_minor", "currency")} | {"at": at}


def _sums(books: Books) -> dict[str, int]:
    """Of the operations, not of what the payment says of them."""
    sums: Counter[str] = Counter()
    for each in books.operations:
        if _was_done(each):
            sums[each["kind"]] += each["amount_minor"]
    return {
        "held_minor": sums["authorize"],
        "captured_minor": sums["capture"],
        "refunded_minor": sums["refund"],
        "written_off_minor": books.money["written_off_minor"] or 0 if books.money else 0,
    }


def _shipments(books: Books) -> Sequence[Row]:
    return books.parcels["shipments"] or () if books.parcels else ()


def _sent(books: Books) -> int:
    return sum(each["amount_minor"] for each in _shipments(books) if each["status"] in _GONE)


def _gone(books: Books) -> Counter[str]:
    units: Counter[str] = Counter()
    for shipment in _shipments(books):
        if shipment["status"] in _GONE:
            for each in shipment["units"]:
                units[each["sku"]] += each["quantity"]
    return units
