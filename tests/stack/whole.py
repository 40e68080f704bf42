"""The whole way of an order on the stack: what staff does, what the companies outside are told to do, and what has to add up."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

import orjson
import requests

from api.payments.provider import Entry, Outcome
from api.payments.simulated import SimulatedProvider
from kernel import settings
from tests.stack.shop import Shop, eventually

#: Units of each product that a shop begins with.
UNITS = 1_000


class Company:
    """The provider, or the carrier, as it is told what to do."""

    def __init__(self, name: Literal["PROVIDER", "CARRIER"]) -> None:
        self._name = name
        self._url = settings.setting(f"{name}_URL")
        self._headers = {"Authorization": f"Bearer {settings.setting(f'{name}_KEY')}"}

    def script(self, prefix: str, kind: str, **script: Any) -> None:
        """What it does with calls of a kind whose key begins so."""
        self._post("/scripts", {"prefix": prefix, "kind": kind, "script": script})

    def later(self, seconds: float) -> None:
        """So much time has passed there."""
        self._post("/clock", {"advance_s": seconds})

    def tell(self, body: Mapping[str, Any]) -> requests.Response:
        """As if it told us this, signed."""
        secret = settings.setting(f"{self._name}_WEBHOOK_SECRETS").split(",")[0]
        sent, at = orjson.dumps(body), int(datetime.now(UTC).timestamp())
        signature = hmac.digest(secret.encode(), b"%d." % at + sent, hashlib.sha256).hex()
        headers = {"Webhook-Signature": f"t={at},v1={signature}", "Content-Type": "application/json"}
        url = f"{settings.setting('API_URL')}/v1/webhooks/{self._name.lower()}"
        return requests.post(url, data=sent, headers=headers, timeout=30)

    def _post(self, path: str, body: Any) -> None:
        answer = requests.post(self._url + path, json=body, headers=self._headers, timeout=30)
        assert answer.ok, answer.text


class House(Shop):
    """A shop whose orders are followed to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.provider, self.carrier = Company("PROVIDER"), Company("CARRIER")
        self._staff = {"Authorization": f"Bearer {settings.setting('OPERATOR_KEY')}"}
        self._books = SimulatedProvider(settings.setting("PROVIDER_URL"), settings.setting("PROVIDER_KEY"))

    def products(self, prices: Sequence[int] = (150, 275)) -> list[str]:
        """Products at these prices, UNITS of each, which orders know."""
        skus = [f"p{number}-{self.name}" for number in range(len(prices))]
        made = [{**self.product("p", price), "sku": sku} for sku, price in zip(skus, prices, strict=True)]
        assert self.post("/products:batch", {"products": made}).ok
        assert self.post("/stock:receive", {"receipts": [{"sku": sku, "quantity": UNITS} for sku in skus]}).ok
        refused = eventually(lambda: self.order([(sku, 100_000) for sku in skus], card=None).json().get("id"))
        assert self.settled(refused)["status"] == "rejected"
        return skus

    def placed(self, lines: Sequence[tuple[str, int]], card: str | None = None) -> str:
        """An order's id, once it is reserved; without a card its payment is there, too, and waits for one."""
        order_id: str = self.order(lines, card=card).json()["id"]
        if card is None:
            self.until(order_id, lambda order: order["payment"])
        return order_id

    def confirmed(self, lines: Sequence[tuple[str, int]], card: str = "tok_approved") -> str:
        """An order's id, once it is confirmed and its parcels are planned."""
        order_id: str = self.order(lines, card=card).json()["id"]
        self.until(order_id, lambda order: order["status"] == "confirmed" and order["fulfilment"])
        return order_id

    def shown(self, order_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.get(f"/orders/{order_id}").json()
        return shown

    def until(self, order_id: str, condition: Any) -> dict[str, Any]:
        """The order as it is shown, once that holds."""

        def look() -> dict[str, Any] | None:
            answer = self.get(f"/orders/{order_id}")
            return answer.json() if answer.ok and condition(answer.json()) else None

        try:
            found: dict[str, Any] = eventually(look, patience_s=30)
        except Exception as error:
            raise AssertionError(orjson.dumps(self.shown(order_id), option=orjson.OPT_INDENT_2).decode()) from error
        return found

    def becomes(self, order_id: str, status: str) -> dict[str, Any]:
        return self.until(order_id, lambda order: order["status"] == status)

    def stepped(self, order_id: str, about: str, step: str) -> dict[str, Any]:
        """Once that has happened to what is about the order, or to the order itself (about "order")."""
        return self.until(order_id, lambda order: step in steps(order, about))

    def pay(self, order_id: str, card: str = "tok_approved") -> None:
        answer = self.post(f"/payments/{order_id}/card", {"card_token": card})
        assert answer.ok, answer.text

    def staff(self, path: str, body: Any = None) -> requests.Response:
        headers = {"Idempotency-Key": str(uuid4()), **self._staff}
        return self.http.post(f"{self.url}/v1{path}", json=body, headers=headers, timeout=30)

    def pack(self, order_id: str, number: int = 1) -> None:
        answer = self.staff(f"/fulfilments/{order_id}/shipments/{number}/pack")
        assert answer.ok, answer.text

    def hand_over(self, order_id: str, number: int = 1) -> None:
        """Packs a parcel and gives it to the carrier, once it is paid for and has its label."""
        self.pack(order_id, number)
        self.dispatch(order_id, number)

    def dispatch(self, order_id: str, number: int = 1) -> None:
        self.until(order_id, lambda order: parcel(order, number)["tracking"])
        answer = self.staff(f"/fulfilments/{order_id}/shipments/{number}/dispatch")
        assert answer.ok, answer.text

    def cancel(self, order_id: str, units: Mapping[str, int] | None = None) -> requests.Response:
        if units is None:
            return self.post(f"/orders/{order_id}/cancel", None)
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
        return self.post(f"/orders/{order_id}/cancellations", {"lines": lines})

    def give_back(self, order_id: str, units: Mapping[str, int]) -> requests.Response:
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]
        return self.post(f"/returns/{order_id}", {"lines": lines})

    def take_back(self, order_id: str, number: int = 1) -> None:
        """Approves a return, counts it and finds it as good as new."""
        for step, body in (("approve", None), ("receive", None), ("accept", {"restock": True})):
            answer = self.staff(f"/returns/{order_id}/{number}/{step}", body)
            assert answer.ok, answer.text

    def completed(self, sku: str) -> str:
        """An order of two units, from placing it to the door; gives its id."""
        order_id = self.confirmed([(sku, 2)])
        self.hand_over(order_id)
        self.becomes(order_id, "completed")
        return order_id

    def exchange(self, order_id: str, sku: str, other: str, card: str | None = None) -> dict[str, Any]:
        """A unit of a completed order for one of another product: the exchange, as it was asked for."""
        give_back, lines = ([{"sku": each, "quantity": 1}] for each in (sku, other))
        body = {"order_id": order_id, "give_back": give_back, "lines": lines, "card_token": card}
        answer = self.post("/exchanges", body)
        assert answer.ok, answer.text
        exchange: dict[str, Any] = answer.json()
        return exchange

    def cases(self, order_id: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"{self.url}/v1/cases?limit=1000", headers=self._staff, timeout=30)
        assert answer.ok, answer.text
        return [case for case in answer.json()["cases"] if case["order_id"] == order_id]

    def ledger(self, order_id: str) -> list[Entry]:
        """What the provider has in its books for an order."""
        return [entry for entry in self.books() if entry.order_id == order_id]

    def books(self) -> Iterator[Entry]:
        """What the provider has in its books."""
        return self._books.ledger()

    def check(self, order_id: str, status: str, due_minor: int, gone: Mapping[str, int]) -> dict[str, Any]:
        """The order once it ends so, with money as its provider has it, and stock as it has to be.

        `gone` are the units, by sku, that have left for good: nobody else may have ordered of these products.
        """
        self.becomes(order_id, status)
        order = self.until(order_id, lambda order: (order["due_minor"], _kept_minor(order)) == (due_minor, due_minor))
        if order["payment"]:
            assert misfits(order["payment"], self.ledger(order_id)) == []
        for line in order["lines"]:
            self._await_stock(line["sku"], UNITS - gone.get(line["sku"], 0))
        return order

    def _await_stock(self, sku: str, on_hand: int) -> None:
        """Nothing of it is promised any more."""

        def is_so() -> bool:
            found = self.get(f"/stock/{sku}").json()
            return bool((found["on_hand"], found["reserved"]) == (on_hand, 0))

        eventually(is_so)


def _kept_minor(order: Mapping[str, Any]) -> int:
    payment = order["payment"]
    return int(payment["captured_minor"] - payment["refunded_minor"]) if payment else 0


def misfits(payment: Mapping[str, Any], entries: Sequence[Entry]) -> list[str]:
    """Where our books and the provider's differ; what nobody knows yet, or somebody has ruled, is left out."""
    theirs = {each.outcome.operation_id: each.outcome for each in entries}
    ours = {f"{payment['order_id']}.{each['number']}": each for each in payment["operations"]}
    found = [f"{id_}: {each} here, {theirs.get(id_)} there" for id_, each in ours.items() if not _agree(each, theirs.get(id_))]
    unknown = [id_ for id_, outcome in theirs.items() if outcome.is_done and id_ not in ours]
    return found + [f"{id_} is in the provider's books only" for id_ in unknown if not payment["cases"]]


def _agree(ours: Mapping[str, Any], theirs: Outcome | None) -> bool:
    if ours["code"] == "ruled":
        return True
    if ours["state"] == "succeeded" and ours["amount_minor"]:
        is_same = theirs is not None and (theirs.is_done, theirs.amount_minor) == (True, ours["amount_minor"])
        return is_same or (theirs is not None and ours["kind"] == "authorize")  # which may have expired since
    return ours["state"] != "failed" or theirs is None or not theirs.is_done


def steps(order: Mapping[str, Any], about: str = "order") -> list[str]:
    """What has happened to the order, or to what is beside it."""
    shown = order if about == "order" else order[about]
    return [step["type"] for step in shown["steps"]] if shown else []


def parcel(order: Mapping[str, Any], number: int = 1) -> dict[str, Any]:
    [found] = [each for each in order["fulfilment"]["shipments"] if each["number"] == number]
    return dict(found)
