"""What is to be watched of shipping."""

from api.manifest import gauge
from api.shipping.store import CASES

GAUGES = (gauge("marea_shipping_cases", "What of parcels needs a person.", CASES),)
