"""Events of reservation: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from typing import Literal, TypedDict

from schemas.event import Event, Topic


class ReservationMadeData(TypedDict):
    """Every line of an order is reserved."""

    order_id: str


class Shortage(TypedDict):
    """Of one product, in units."""

    sku: str
    requested: int
    available: int


class ReservationRefusedData(TypedDict):
    """No line of an order is reserved, because at least one could not be."""

    order_id: str
    reason: str
    #: The lines that could not be reserved.
    shortages: list[Shortage]


class ReservationReleasedData(TypedDict):
    """What was reserved for an order is free again."""

    order_id: str


ReservationMade = Event[Literal["ReservationMade"], ReservationMadeData]
ReservationRefused = Event[Literal["ReservationRefused"], ReservationRefusedData]
ReservationReleased = Event[Literal["ReservationReleased"], ReservationReleasedData]

ReservationEvent = ReservationMade | ReservationRefused | ReservationReleased
ReservationEventType = Literal["ReservationMade", "ReservationRefused", "ReservationReleased"]

TOPIC = Topic[ReservationEvent]("marea.reservation")

ReservationStatus = Literal["made", "refused", "released"]

STATUS: dict[ReservationEventType, ReservationStatus] = {
    "ReservationMade": "made",
    "ReservationRefused": "refused",
    "ReservationReleased": "released",
}
