"""Events of reservation: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from typing import Literal, TypedDict

from schemas.event import Event, Topic

ReservationStatus = Literal["made", "refused", "released", "consumed"]


class ReservationLine(TypedDict):
    """Units of one product, and what has become of them."""

    sku: str
    reserved: int
    released: int
    #: Units that have left the house.
    consumed: int


class ReservationMadeData(TypedDict):
    """Every line of the order is promised."""

    order_id: str
    status: ReservationStatus
    #: Why, where it is not plain.
    reason: str | None
    #: The order's version that it answers.
    order_version: int
    lines: list[ReservationLine]


class ReservationReducedData(TypedDict):
    """Units are free again, or have left the house; or there was nothing to free."""

    order_id: str
    status: ReservationStatus
    #: Why, where it is not plain.
    reason: str | None
    #: The order's version that it answers.
    order_version: int
    lines: list[ReservationLine]


class Shortage(TypedDict):
    """A line that cannot be promised."""

    sku: str
    requested: int
    available: int


class ReservationRefusedData(TypedDict):
    """The order cannot be promised as a whole."""

    order_id: str
    status: ReservationStatus
    #: Why, where it is not plain.
    reason: str | None
    #: The order's version that it answers.
    order_version: int
    lines: list[ReservationLine]
    shortages: list[Shortage]


ReservationMade = Event[Literal["ReservationMade"], ReservationMadeData]
ReservationReduced = Event[Literal["ReservationReduced"], ReservationReducedData]
ReservationRefused = Event[Literal["ReservationRefused"], ReservationRefusedData]

ReservationEvent = ReservationMade | ReservationReduced | ReservationRefused
ReservationEventType = Literal["ReservationMade", "ReservationReduced", "ReservationRefused"]

TOPIC = Topic[ReservationEvent]("marea.reservation")
