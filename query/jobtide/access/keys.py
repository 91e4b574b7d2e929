"""API keys as data: what a token looks like, what is kept of it, and when it is good. Pure.

A token is `jt_<id>_<secret>`; the id finds the key, and only a SHA-256 of the whole token is kept (the secret has 256
random bits: nothing is gained by a slower hash). Where keys are kept is `keyring`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import msgspec
from jobtide.access.caller import Caller, Role

TOKEN = re.compile(r"jt_([0-9a-f]{12})_[0-9a-f]{64}")
_NO_HASH = hashlib.sha256(b"").hexdigest()

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Refusal(StrEnum):
    """Why a token is not good."""

    MISSING = "no_token"
    MALFORMED = "malformed_token"
    UNKNOWN = "unknown_key"
    EXPIRED = "expired_key"
    REVOKED = "revoked_key"
    BAD_SIGNATURE = "bad_signature"
    WRONG_CLAIMS = "wrong_claims"


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What is kept of a key. Times are µs. `tenants` of an ingest key is exactly one."""

    id: str
    sha256: str
    name: Name
    role: Role
    tenants: tuple[Name, ...] | None = None
    environments: tuple[Name, ...] | None = None
    rate_per_minute: int | None = None
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None

    def state(self, now_us: int) -> str:
        """`good`, `revoked` or `expired`."""
        if self.revoked_us is not None:
            return "revoked"
        return "expired" if self.expires_us is not None and self.expires_us <= now_us else "good"

    def caller(self) -> Caller:
        return Caller(self.name, self.role, self.tenants, self.environments, self.id, self.rate_per_minute)


def token_of(key_id: str, secret: str) -> str:
    return f"jt_{key_id}_{secret}"


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def looks_like_key(token: str) -> bool:
    return token.startswith("jt_")


def looks_like_jwt(token: str) -> bool:
    return token.count(".") == 2 and token.startswith("ey")


class Keys:
    """Keys by their id."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._by_id = {key.id: key for key in keys}

    def __len__(self) -> int:
        return len(self._by_id)

    def usable(self, now_us: int) -> int:
        """How many of them are good now."""
        return sum(key.state(now_us) == "good" for key in self._by_id.values())

    def find(self, token: str, now_us: int) -> Caller | Refusal:
        """Whose token it is. Takes the same time whether the id, the secret or neither is right."""
        found = TOKEN.fullmatch(token)
        if found is None:
            return Refusal.MALFORMED
        key = self._by_id.get(found[1])
        same = hmac.compare_digest(digest(token), key.sha256 if key else _NO_HASH)
        if key is None or not same:
            return Refusal.UNKNOWN
        state = key.state(now_us)
        if state != "good":
            return Refusal.REVOKED if state == "revoked" else Refusal.EXPIRED
        return key.caller()
