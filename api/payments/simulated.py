"""The provider that demo/provider simulates, over HTTP. Nothing is tried again here: tasks do that."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from api.payments.provider import Entry, Kind, Outcome, Webhook
from api.web.webhooks import check_signature
from kernel.outside import REST_S, Outside
from kernel.refusals import Malformed
from kernel.tasks import NoAnswer

_NAME = "payment provider"


class _Sent(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class Operation(_Sent):
    """An operation, as the provider tells it."""

    id: str
    kind: Kind
    status: Literal["succeeded", "failed"]
    amount_minor: int
    authorization: str | None
    code: str | None

    def outcome(self) -> Outcome:
        """In our words."""
        return Outcome(
            *(self.id, self.kind, self.status == "succeeded", self.amount_minor, self.authorization, self.code)
        )


class EntryOfPage(Operation):
    """An operation in the ledger, as the provider tells it."""

    order_id: str
    currency: str
    was_done_minor: int

    def entry(self) -> Entry:
        """In our words."""
        return Entry(self.order_id, self.currency, self.was_done_minor, self.outcome())


class _Page(_Sent):
    entries: list[EntryOfPage]
    next: int | None


class _Event(_Sent):
    id: str
    operation: Operation


class SimulatedProvider:
    """See Provider."""

    def __init__(self, url: str, key: str, webhook_secrets: Sequence[str] = (), rest_s: int = REST_S) -> None:
        """`webhook_secrets` are needed by `parse_webhook` only; `rest_s` is how long a provider that is down is left alone."""
        self._outside = Outside(_NAME, url, key, rest_s)
        self._webhook_secrets = webhook_secrets

    def authorize(self, operation_id: str, order_id: str, amount_minor: int, currency: str, card_token: str) -> Outcome:
        """See Provider."""
        asked = {"order_id": order_id, "amount_minor": amount_minor, "currency": currency, "token": card_token}
        return self._operate("/authorizations", operation_id, asked)

    def capture(self, operation_id: str, reference: str, amount_minor: int) -> Outcome:
        """See Provider."""
        return self._operate(f"{_at(reference)}/captures", operation_id, {"amount_minor": amount_minor})

    def void(self, operation_id: str, reference: str) -> Outcome:
        """See Provider."""
        return self._operate(f"{_at(reference)}/void", operation_id, {})

    def refund(self, operation_id: str, reference: str, amount_minor: int) -> Outcome:
        """See Provider."""
        return self._operate(f"{_at(reference)}/refunds", operation_id, {"amount_minor": amount_minor})

    def lookup(self, operation_id: str) -> Outcome | None:
        """See Provider."""
        answer = self._outside.get(f"/operations/{quote(operation_id, safe='')}")
        return None if answer.status == HTTPStatus.NOT_FOUND else _outcome(operation_id, answer.content)

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Webhook:
        """See Provider."""
        return parse_webhook(headers, body, now, self._webhook_secrets)

    def ledger(self) -> Iterator[Entry]:
        """See Provider."""
        after: int | None = 0
        while after is not None:
            content = self._outside.get("/ledger", {"after": str(after)}).content
            try:
                page = _Page.model_validate(content)
            except ValidationError as error:
                raise NoAnswer(f"{_NAME}: a page of its ledger can't be read: {error}") from error
            yield from (each.entry() for each in page.entries)
            after = page.next

    def _operate(self, path: str, operation_id: str, asked: Mapping[str, Any]) -> Outcome:
        return _outcome(operation_id, self._outside.post(path, operation_id, asked).content)


def parse_webhook(headers: Mapping[str, str], body: bytes, now: datetime, secrets: Sequence[str]) -> Webhook:
    """What the provider has told us: for whoever has nothing but the secrets. Raises BadSignature, Malformed."""
    check_signature(headers, body, secrets, now)
    try:
        event = _Event.model_validate_json(body)
    except ValidationError as error:
        raise Malformed("It is signed, and is no event of the payment provider.") from error
    return Webhook(event.id, event.operation.outcome())


def _at(reference: str) -> str:
    return f"/authorizations/{quote(reference, safe='')}"


def _outcome(operation_id: str, content: Any) -> Outcome:
    """Raises NoAnswer when it is not said what has become of just this operation."""
    try:
        operation = Operation.model_validate(content)
    except ValidationError as error:
        raise NoAnswer(f"{_NAME}: its answer about {operation_id} can't be read: {error}") from error
    if operation.id != operation_id:
        raise NoAnswer(f"{_NAME}: asked about {operation_id}, it answered about {operation.id}")
    return operation.outcome()
