"""The carrier that demo/carrier simulates, over HTTP. Nothing is tried again here: tasks do that."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from api.shipping.carrier import Booked, Scan
from api.web.webhooks import check_signature
from kernel.outside import REST_S, Outside
from kernel.refusals import Malformed
from kernel.tasks import NoAnswer

_NAME = "carrier"


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Scan(_Sent):
    """As the carrier tells it."""

    id: str
    tracking: str
    what: Literal["delivered", "lost"]
    at: AwareDatetime

    def scan(self) -> Scan:
        return Scan(self.id, self.tracking, self.what, self.at)


class Parcel(_Sent):
    """A parcel, as the carrier tells it."""

    tracking: str
    days: int
    is_handed_over: bool
    scan: _Scan | None = None


class _Event(_Sent):
    scan: _Scan


_Model = TypeVar("_Model", bound=_Sent)


class SimulatedCarrier:
    """See Carrier."""

    def __init__(self, url: str, key: str, webhook_secrets: Sequence[str] = (), rest_s: int = REST_S) -> None:
        """`webhook_secrets` are needed by `parse_webhook` only; `rest_s` is how long a carrier that is down is left alone."""
        self._outside = Outside(_NAME, url, key, rest_s)
        self._webhook_secrets = webhook_secrets

    def book(self, key: str, reference: str) -> Booked:
        """See Carrier."""
        parcel = _read(Parcel, self._outside.post("/parcels", key, {"reference": reference}).content)
        return Booked(parcel.tracking, parcel.days)

    def hand_over(self, key: str, tracking: str) -> None:
        """See Carrier."""
        parcel = _read(Parcel, self._outside.post(f"{_at(tracking)}/hand-over", key, {}).content)
        if not parcel.is_handed_over or parcel.tracking != tracking:
            raise NoAnswer(f"{_NAME}: it does not say that it has {tracking}: {parcel}")

    def lookup(self, tracking: str) -> Scan | None:
        """See Carrier."""
        answer = self._outside.get(_at(tracking))
        scan = None if answer.status == HTTPStatus.NOT_FOUND else _read(Parcel, answer.content).scan
        return scan.scan() if scan else None

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Scan:
        """See Carrier."""
        return parse_webhook(headers, body, now, self._webhook_secrets)


def parse_webhook(headers: Mapping[str, str], body: bytes, now: datetime, secrets: Sequence[str]) -> Scan:
    """What the carrier has told us: for whoever has nothing but the secrets. Raises BadSignature, Malformed."""
    check_signature(headers, body, secrets, now)
    try:
        return _Event.model_validate_json(body).scan.scan()
    except ValidationError as error:
        raise Malformed("It is signed, and is no event of the carrier.") from error


def _at(tracking: str) -> str:
    return f"/parcels/{quote(tracking, safe='')}"


def _read(model: type[_Model], content: Any) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise NoAnswer(f"{_NAME}: its answer can't be read: {error}") from error
