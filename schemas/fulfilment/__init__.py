"""Events of fulfilment: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from datetime import datetime
from typing import Literal, TypedDict

from schemas.event import Event, Topic

ShipmentStatus = Literal["planned", "packed", "held", "ready", "dispatched", "overdue", "delivered", "lost", "cancelled"]
FulfilmentStatus = Literal["open", "shipped", "finished"]


class ShipmentUnits(TypedDict):
    """Units of one product in a parcel."""

    sku: str
    quantity: int
    unit_price_minor: int


class Shipment(TypedDict):
    """A parcel."""

    number: int
    status: ShipmentStatus
    units: list[ShipmentUnits]
    #: What these units cost.
    amount_minor: int
    #: The carrier's number.
    tracking: str | None
    #: That it takes, as the carrier says.
    days: int | None
    #: When it should have arrived.
    expected_by: datetime | None
    #: Whether the carrier has said otherwise since.
    is_contradicted: bool


class Units(TypedDict):
    """Units of one product."""

    sku: str
    quantity: int


class CancelAnswer(TypedDict):
    """What became of the last request to stop units."""

    number: int
    stopped: list[Units]


class Case(TypedDict):
    """What needs a person."""

    kind: str
    #: Of the operation, shipment or return that it is about.
    number: int
    reason: str
    since: datetime


class FulfilmentAnsweredData(TypedDict):
    """A request to stop units is worked through."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentContradictedData(TypedDict):
    """The carrier says otherwise than before."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentDeliveredData(TypedDict):
    """A parcel arrived."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentDispatchedData(TypedDict):
    """A parcel left the house."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentHeldData(TypedDict):
    """A packed parcel is not paid for, and stays."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentLabelledData(TypedDict):
    """The carrier gave a number for a parcel."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentLostData(TypedDict):
    """A parcel is lost."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentOverdueData(TypedDict):
    """A parcel should have arrived."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentPackedData(TypedDict):
    """A parcel is packed: now it is paid for."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentReadyData(TypedDict):
    """A packed parcel is paid for, and can go."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentRuledData(TypedDict):
    """Somebody has seen to a case."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


class ShipmentsPlannedData(TypedDict):
    """What an order's parcels will be."""

    order_id: str
    customer_id: str
    #: ISO 4217 code.
    currency: str
    status: FulfilmentStatus
    #: Why, where it is not plain.
    reason: str | None
    shipments: list[Shipment]
    answered: CancelAnswer | None
    cases: list[Case]


FulfilmentAnswered = Event[Literal["FulfilmentAnswered"], FulfilmentAnsweredData]
ShipmentContradicted = Event[Literal["ShipmentContradicted"], ShipmentContradictedData]
ShipmentDelivered = Event[Literal["ShipmentDelivered"], ShipmentDeliveredData]
ShipmentDispatched = Event[Literal["ShipmentDispatched"], ShipmentDispatchedData]
ShipmentHeld = Event[Literal["ShipmentHeld"], ShipmentHeldData]
ShipmentLabelled = Event[Literal["ShipmentLabelled"], ShipmentLabelledData]
ShipmentLost = Event[Literal["ShipmentLost"], ShipmentLostData]
ShipmentOverdue = Event[Literal["ShipmentOverdue"], ShipmentOverdueData]
ShipmentPacked = Event[Literal["ShipmentPacked"], ShipmentPackedData]
ShipmentReady = Event[Literal["ShipmentReady"], ShipmentReadyData]
ShipmentRuled = Event[Literal["ShipmentRuled"], ShipmentRuledData]
ShipmentsPlanned = Event[Literal["ShipmentsPlanned"], ShipmentsPlannedData]

FulfilmentEvent = FulfilmentAnswered | ShipmentContradicted | ShipmentDelivered | ShipmentDispatched | ShipmentHeld | ShipmentLabelled | ShipmentLost | ShipmentOverdue | ShipmentPacked | ShipmentReady | ShipmentRuled | ShipmentsPlanned
FulfilmentEventType = Literal["FulfilmentAnswered", "ShipmentContradicted", "ShipmentDelivered", "ShipmentDispatched", "ShipmentHeld", "ShipmentLabelled", "ShipmentLost", "ShipmentOverdue", "ShipmentPacked", "ShipmentReady", "ShipmentRuled", "ShipmentsPlanned"]

TOPIC = Topic[FulfilmentEvent]("marea.fulfilment")
