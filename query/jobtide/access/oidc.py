"""Bearer tokens of an OpenID Connect issuer, beside API keys: signature, times, issuer and audience, then two claims.

Only asymmetric signatures count, so that the public keys cannot be used as a shared secret. The issuer's keys come from
a file or a URL; an unknown key id leads to one more look, at most every REFETCH_S.
What cannot be read leaves the keys as they were. Blocks: call it in a thread.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import jwt
from jobtide.access.caller import Caller, Role
from jobtide.access.keys import Refusal
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
REFETCH_S = 30.0
KEPT_S = 3600.0
LEEWAY_S = 30
FETCH_S = 5.0
MAX_JWKS_BYTES = 1 << 20
# Out of reach, or not a JSON Web Key Set, whatever it is instead.
_UNUSABLE = (OSError, ValueError, AttributeError, TypeError, LookupError, http.client.HTTPException, jwt.PyJWTError)
_ROLES = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)  # highest first; an ingest key is never a person


class Issuer:
    """The issuer of the settings."""

    def __init__(self, settings: Settings) -> None:
        """ConfigError if the keys are in a file and it cannot be used; a URL may come up later."""
        self._settings = settings
        self._lock = threading.Lock()
        self._keys: dict[str, Any] = {}
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        if not settings.oidc_jwks.startswith(("https://", "http://")):
            try:
                self._fetch()
            except _UNUSABLE as error:
                raise ConfigError(f"JOBTIDE_OIDC_JWKS: {settings.oidc_jwks} is not a file with a JSON Web Key Set: {error}") from None

    def find(self, token: str) -> Caller | Refusal:
        """Whose token it is."""
        s = self._settings
        try:
            header = jwt.get_unverified_header(token)
            key = self._key(str(header.get("kid", "")))
            if key is None:
                return Refusal.BAD_SIGNATURE
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=s.oidc_audience,
                issuer=s.oidc_issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "sub", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            return Refusal.EXPIRED
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError):
            return Refusal.BAD_SIGNATURE
        except jwt.DecodeError:
            return Refusal.MALFORMED
        except jwt.PyJWTError:
            return Refusal.WRONG_CLAIMS
        return self._caller(claims)

    def _caller(self, claims: dict[str, Any]) -> Caller | Refusal:
        said = _texts(claims.get(self._settings.oidc_role_claim))
        role = next((role for role in _ROLES if role.value in said), None)
        tenants = _texts(claims.get(self._settings.oidc_tenants_claim))
        if role is None or not tenants:
            return Refusal.WRONG_CLAIMS
        name = str(claims.get("email") or claims["sub"])[:200]
        return Caller(name, role, None if "*" in tenants else tuple(sorted(tenants)), None, f"oidc:{claims['sub']}"[:200])

    def _key(self, kid: str) -> Any:
        with self._lock:
            now_s = time.monotonic()
            wanted = self._fetched_s is None or now_s - self._fetched_s > KEPT_S or kid not in self._keys
            if wanted and (self._tried_s is None or now_s - self._tried_s > REFETCH_S):
                try:
                    self._fetch()
                except _UNUSABLE as error:
                    log.warning("the issuer's keys are out of reach", extra={"jwks": self._settings.oidc_jwks, "reason": str(error)})
            return self._keys.get(kid)

    def _fetch(self) -> None:
        self._tried_s = time.monotonic()
        found = jwt.PyJWKSet.from_json(_content(self._settings.oidc_jwks).decode("utf-8", "replace"))
        self._keys = {key.key_id or "": key for key in found.keys if key.key_type != "oct"}
        self._fetched_s = time.monotonic()


def _content(place: str) -> bytes:
    if place.startswith(("https://", "http://")):  # http:// only of this machine: `settings` refuses others
        with urllib.request.urlopen(place, timeout=FETCH_S) as reply:  # noqa: S310  # the scheme is one of these two
            return bytes(reply.read(MAX_JWKS_BYTES))
    return Path(place).read_bytes()


def _texts(claim: Any) -> frozenset[str]:
    """A claim that is one text, or a list of them, or texts with spaces between (as `scope` is)."""
    if isinstance(claim, str):
        return frozenset(claim.split())
    return frozenset(text for text in claim if isinstance(text, str)) if isinstance(claim, list) else frozenset()
