"""Events of order: generated from the .avsc beside this by `python -m schemas.generate`, not to be edited."""

from datetime import datetime
from typing import Literal, TypedDict

from schemas.event import Event, Topic

OrderStatus = Literal["placed", "reserved", "confirmed", "stopping", "undoing", "rejected", "cancelled", "completed"]


class OrderUnits(TypedDict):
    """How many units of one product were ordered, and what of them will not come."""

    sku: str
    quantity: int
    unit_price_minor: int
    cancelled: int
    lost: int


class Units(TypedDict):
    """Units of one product."""

    sku: str
    quantity: int


class CancelRequest(TypedDict):
    """The last request to stop units."""

    number: int
    units: list[Units]


class ReturnTaken(TypedDict):
    """A return that has lowered what is due."""

    number: int
    #: The order's version that did.
    version: int


class OrderAmendedData(TypedDict):
    """What is left of it goes on; stock and money are as they have to be."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderCancelDeclinedData(TypedDict):
    """All of the units that were to be stopped had left the house."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderCancelRequestedData(TypedDict):
    """Units are to be stopped, if they have not left the house."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderCancelledData(TypedDict):
    """Nothing of it is left, stock is free and money is back."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderCompletedData(TypedDict):
    """Every unit has arrived or is lost, and what is due is paid."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderConfirmedData(TypedDict):
    """It is reserved, and paid for or promised to be."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderCreditReturnedData(TypedDict):
    """Of what it got in exchange it needs less: the rest goes back."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderDueChangedData(TypedDict):
    """What is due has changed."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderLinesCancelledData(TypedDict):
    """Units will not be sent: their stock is released, and what is due is less."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderLinesLostData(TypedDict):
    """Units were lost on their way: what is due is less."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderLine(TypedDict):
    """Units of one product, as it was when the order was placed."""

    sku: str
    name: str
    department: str
    category: str
    brand: str
    quantity: int
    unit_price_minor: int


class OrderPlacedData(TypedDict):
    """A customer placed an order; prices and descriptions as they were then."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    lines: list[OrderLine]
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None


class OrderRejectedData(TypedDict):
    """Stock can't be reserved."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


class OrderReservedData(TypedDict):
    """Stock is reserved for every line."""

    order_id: str
    customer_id: str
    placed_at: datetime
    #: ISO 4217 code.
    currency: str
    #: Sum of the lines in minor units.
    total_minor: int
    status: OrderStatus
    #: Why, where it is not plain.
    reason: str | None
    #: What the customer owes in all, in minor units.
    due_minor: int
    #: The order's version that said so last.
    due_version: int
    #: When it is cancelled unless it is paid for.
    pay_by: datetime
    #: The provider's name for the customer's card.
    card_token: str | None
    #: The exchange for which it was placed.
    exchange_id: str | None
    #: As the lines, in their order.
    units: list[OrderUnits]
    cancelled_minor: int
    lost_minor: int
    returned_minor: int
    goodwill_minor: int
    #: What of its returns has gone to orders in exchange.
    credit_given_minor: int
    #: What it got of another order's return.
    credit_got_minor: int
    #: Of an order in exchange: whether its credit is decided.
    is_credited: bool
    cancel: CancelRequest | None
    #: The version that cancelled lines last, which inventory and payments answer; 0: none.
    undone_version: int
    returns_taken: list[ReturnTaken]
    #: Those that have lowered what is due.
    shipments_lost: list[int]


OrderAmended = Event[Literal["OrderAmended"], OrderAmendedData]
OrderCancelDeclined = Event[Literal["OrderCancelDeclined"], OrderCancelDeclinedData]
OrderCancelRequested = Event[Literal["OrderCancelRequested"], OrderCancelRequestedData]
OrderCancelled = Event[Literal["OrderCancelled"], OrderCancelledData]
OrderCompleted = Event[Literal["OrderCompleted"], OrderCompletedData]
OrderConfirmed = Event[Literal["OrderConfirmed"], OrderConfirmedData]
OrderCreditReturned = Event[Literal["OrderCreditReturned"], OrderCreditReturnedData]
OrderDueChanged = Event[Literal["OrderDueChanged"], OrderDueChangedData]
OrderLinesCancelled = Event[Literal["OrderLinesCancelled"], OrderLinesCancelledData]
OrderLinesLost = Event[Literal["OrderLinesLost"], OrderLinesLostData]
OrderPlaced = Event[Literal["OrderPlaced"], OrderPlacedData]
OrderRejected = Event[Literal["OrderRejected"], OrderRejectedData]
OrderReserved = Event[Literal["OrderReserved"], OrderReservedData]

OrderEvent = OrderAmended | OrderCancelDeclined | OrderCancelRequested | OrderCancelled | OrderCompleted | OrderConfirmed | OrderCreditReturned | OrderDueChanged | OrderLinesCancelled | OrderLinesLost | OrderPlaced | OrderRejected | OrderReserved
OrderEventType = Literal["OrderAmended", "OrderCancelDeclined", "OrderCancelRequested", "OrderCancelled", "OrderCompleted", "OrderConfirmed", "OrderCreditReturned", "OrderDueChanged", "OrderLinesCancelled", "OrderLinesLost", "OrderPlaced", "OrderRejected", "OrderReserved"]

TOPIC = Topic[OrderEvent]("marea.order")
