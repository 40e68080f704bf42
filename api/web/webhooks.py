"""What others tell us by POST: is it from whom it says? The same signature for all of them.

    Webhook-Signature: t=<seconds since 1970>,v1=<HMAC-SHA256 of "<t>.<body>" in hex>

with a secret that both have. A sender that changes its secret signs with both for a while (several v1), or we know both.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from kernel.refusals import Refused

HEADER = "Webhook-Signature"

#: How far the sender's clock may be from ours, either way. An older message may have been taken down by somebody else.
TOLERANCE_S = 300

#: At most four signatures: more would be work for whoever can't sign.
_HEADER = re.compile(r"t=([0-9]{1,12})((?:,v1=[0-9a-f]{64}){1,4})")


class BadSignature(Refused):
    """Nobody who knows our secret has sent this now."""


def secrets_of(setting: str) -> tuple[str, ...]:
    """The secrets in a setting: one, or two with a comma between while one is changed. Raises ValueError without any."""
    secrets = tuple(filter(None, map(str.strip, setting.split(","))))
    if not secrets:
        raise ValueError("there is no secret for webhooks: set one, or two with a comma between")
    return secrets


def check_signature(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime) -> None:
    """Raises BadSignature unless the body, byte for byte, was signed with one of the secrets about now.

    `headers` are looked up by HEADER as it is written here: whoever has them in a plain dict keeps to it.
    """
    header = headers.get(HEADER)
    if header is None:
        raise BadSignature(f"There is no header {HEADER}.")
    found = _HEADER.fullmatch(header)
    if found is None:
        raise BadSignature(f"{HEADER} can't be read: it is t=<seconds>,v1=<64 hexadecimal digits>.")
    moment, signatures = found[1], found[2].split(",v1=")[1:]
    if abs(now.timestamp() - int(moment)) > TOLERANCE_S:
        raise BadSignature(f"It was signed more than {TOLERANCE_S} seconds from now: set the clock, and sign anew.")
    signed = moment.encode() + b"." + body
    expected = [hmac.digest(secret.encode(), signed, "sha256").hex() for secret in secrets]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in signatures):
        raise BadSignature(f"The signature in {HEADER} is not that of this body.")
