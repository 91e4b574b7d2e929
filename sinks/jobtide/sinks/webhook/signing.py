"""Standard Webhooks signatures (https://www.standardwebhooks.com), by hand: the library signs aware datetimes that are not UTC wrongly.

The library verifies them in the tests.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence


def headers(webhook_id: str, at_s: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers; one signature per secret, so that a secret can be replaced while both are valid."""
    signed = b"%b.%d.%b" % (webhook_id.encode(), at_s, body)
    signatures = [base64.b64encode(hmac.new(key(secret), signed, hashlib.sha256).digest()).decode() for secret in secrets]
    out = {"webhook-id": webhook_id, "webhook-timestamp": str(at_s)}
    return out | ({"webhook-signature": " ".join(f"v1,{each}" for each in signatures)} if signatures else {})


def key(secret: str) -> bytes:
    """The key bytes of `whsec_…`. Raises ValueError for what is none, or shorter than 24 bytes."""
    found = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not 24 <= len(found) <= 64:
        raise ValueError("a secret is whsec_ and the base64 of 24 to 64 bytes")
    return found
