"""Stands in front of an application: who is it, may they, not too often, only their tenant, and write it down.

A thin ASGI layer; every decision is elsewhere (`keyring`, `oidc`, `policy`, `limits`). Without keys and issuer everybody
is `OPEN`, which is only let happen on loopback (`jobtide.cli.serving`). What the application is told is one `Caller`
in the scope; `caller_of` reads it, `takes_tenant` refuses routes that would show a confined caller all tenants.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.dependencies.models import Dependant
from jobtide.access import policy
from jobtide.access.audit import Record, Trail, Write
from jobtide.access.caller import NOBODY, OPEN, Caller, Role
from jobtide.access.keyring import Keyring
from jobtide.access.keys import Refusal, looks_like_jwt, looks_like_key
from jobtide.access.limits import Limiter, RedisCounter
from jobtide.access.problem import send_problem
from jobtide.access.redaction import kept
from jobtide.sinks.redis.connection import connect
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings
from prometheus_client import Counter
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from jobtide.access.oidc import Issuer

CALLER = "jobtide.caller"
DETAIL = "jobtide.audit"  # what a route has the audit log keep
EXPORTS = "/v1/export/"
REFUSED_PER_MINUTE = 60  # of one address, before it is not even told why
REDIS_PATIENCE_S = 0.25
MAX_TOKEN_CHARS = 16_384
MAX_QUERY = 2000

log = logging.getLogger(__name__)
refusals = Counter("jobtide_requests_refused", "Requests that were refused before they reached a route", ["reason"])


def now_us() -> int:
    return time.time_ns() // 1000


class Access:
    """What a guard decides with: made once per application."""

    def __init__(self, settings: Settings, write: Write | None = None) -> None:
        """ConfigError if keys are asked for and there are none. `write` inserts audit records, where there is a ClickHouse."""
        self.settings = settings
        self.trail = Trail(write)
        self.keyring = Keyring(Path(settings.keys_file), now_us) if settings.keys_file else None
        self.issuer = _issuer(settings) if settings.oidc_issuer else None
        if self.keyring is not None and self.issuer is None and not self.keyring.usable():
            raise ConfigError(f"JOBTIDE_KEYS_FILE: there is no good key in {settings.keys_file}: run `jobtide keys create --role admin --name NAME`")
        self._redis: Any = connect(settings, REDIS_PATIENCE_S) if settings.guarded else None
        self.limiter = Limiter(RedisCounter(self._redis, settings.redis_prefix), now_us)

    async def identify(self, token: str | None) -> Caller | Refusal:
        if not self.settings.guarded:
            return OPEN
        if not token:
            return Refusal.MISSING
        if len(token) > MAX_TOKEN_CHARS:
            return Refusal.MALFORMED
        if self.settings.up_key and hmac.compare_digest(token.encode(), self.settings.up_key.encode()):
            return Caller("up", Role.ADMIN, key_id="up", rate_per_minute=0)
        if self.keyring is not None and looks_like_key(token):
            return self.keyring.find(token)
        if self.issuer is not None and looks_like_jwt(token):
            return await asyncio.to_thread(self.issuer.find, token)
        return Refusal.MALFORMED

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()


def _issuer(settings: Settings) -> Issuer:
    from jobtide.access.oidc import Issuer  # its cryptography takes 50 ms to import, and few installations ask for it

    return Issuer(settings)


class Guard:
    """The ASGI layer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        # There is no websocket here: one that is tried is closed without a word.

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        free = policy.needed(method, path) is None
        found = await self._access.identify(_token(scope))
        if isinstance(found, Refusal):
            if not free:
                await self._refuse(scope, send, found)
                return
            found = NOBODY
        if not free:
            wait_s = await self._wait_s(found, path)
            if wait_s:
                refusals.labels("too_many").inc()
                detail = f"more than {self._limit(found, path)} requests in a minute: come back in {wait_s} s"
                await send_problem(send, path, 429, detail, {"retry-after": str(wait_s)})
                return
            denied = policy.role_denied(found, method, path)
            query = denied or policy.confined(found, path, scope.get("query_string", b""))
            if isinstance(query, policy.Denied):
                refusals.labels("not_allowed").inc()
                self._note(scope, found, query.status, query.detail)
                await send_problem(send, path, query.status, query.detail)
                return
            scope = {**scope, "query_string": query}
        await self._pass({**scope, CALLER: found, DETAIL: {}}, receive, send, found)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        status = 0

        async def noticing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noticing)
        finally:
            if _is_audited(scope["method"], scope["path"]):
                detail = scope[DETAIL].get("text", "")
                self._note(scope, caller, status or 500, "done" if 200 <= status < 400 else "failed", detail)

    async def _refuse(self, scope: Scope, send: Send, why: Refusal) -> None:
        refusals.labels(why.value).inc()
        path, address = scope["path"], _address(scope)
        wait_s = await self._access.limiter.seconds_to_wait(f"refused:{address}", REFUSED_PER_MINUTE)
        if wait_s:
            await send_problem(send, path, 429, f"too many refused requests: come back in {wait_s} s", {"retry-after": str(wait_s)})
            return
        if why is not Refusal.MISSING:
            self._note(scope, NOBODY, 401, why.value)
        detail = _WHY.get(why, "the token is not good")
        await send_problem(send, path, 401, detail, {"www-authenticate": 'Bearer realm="jobtide"'})

    def _limit(self, caller: Caller, path: str) -> int:
        if caller is OPEN:
            return 0
        s = self._access.settings
        default = s.ingest_rate_per_minute if path == policy.EVENTS else s.rate_per_minute
        return default if caller.rate_per_minute is None else caller.rate_per_minute

    async def _wait_s(self, caller: Caller, path: str) -> int:
        limit = self._limit(caller, path)
        kind = "ingest" if path == policy.EVENTS else "ask"
        return await self._access.limiter.seconds_to_wait(f"{kind}:{caller.key_id}", limit) if limit else 0

    def _note(self, scope: Scope, caller: Caller, status: int, outcome: str, detail: str = "") -> None:
        self._access.trail.note(record(scope, caller, status, outcome, detail))


_WHY = {
    Refusal.MISSING: "send an API key: `Authorization: Bearer jt_…` (made by `jobtide keys create`)",
    Refusal.EXPIRED: "the key or token has expired",
    Refusal.REVOKED: "the key was revoked",
    Refusal.WRONG_CLAIMS: "the token is good, but its issuer, audience, role or tenants are not ours",
}


def record(scope: Scope, caller: Caller, status: int, outcome: str, detail: str = "") -> Record:
    """What the audit log says of a request."""
    return Record(
        now_us(), caller.name, caller.key_id, caller.role.value if caller.role else "", _address(scope), scope["method"], scope["path"][:MAX_QUERY],
        scope.get("query_string", b"")[:MAX_QUERY].decode("latin-1"), status, outcome, detail,
    )  # fmt: skip


def _is_audited(method: str, path: str) -> bool:
    if path == "/v1/query" or path.startswith(EXPORTS):
        return True
    return method not in ("GET", "HEAD", "OPTIONS") and path != policy.EVENTS and path not in policy.READING_POSTS


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _token(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return str(value.decode("latin-1").strip())
    return None


def caller_of(request: Request) -> Caller:
    """Who asks. Every application that is served has a guard; one without is a test's, and open."""
    found = request.scope.get(CALLER, OPEN)
    assert isinstance(found, Caller)
    return found


def write_down(request: Request, text: str) -> None:
    """Have the audit log keep a text of the request's body, as far as `redaction` lets it."""
    request.scope.get(DETAIL, {})["text"] = kept(text)


def takes_tenant(request: Request) -> None:
    """For every route of an application: a caller that is confined to tenants gets in only where `tenant` is a parameter.

    The guard has put its tenant there. So a route that somebody adds and that knows no tenants is closed to it, not open.
    """
    if caller_of(request).tenants is None or request.url.path in policy.FREE or request.url.path == policy.EVENTS:
        return
    route = request.scope.get("route")
    if route is None or not any(name == "tenant" for name in _parameters(route.dependant)):
        raise HTTPException(403, "this is about all tenants, and the key is for some")


def _parameters(dependant: Dependant) -> Iterator[str]:
    """The names of all query and path parameters, those of parameter models too."""
    for parameter in [*dependant.query_params, *dependant.path_params]:
        fields = getattr(parameter.field_info.annotation, "model_fields", None)
        yield from fields or [parameter.alias]
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def install(app: FastAPI, access: Access) -> None:
    """Put the guard in front of all routes, and its audit log and connections into the application's life."""
    app.add_middleware(Guard, access=access)
    origins = [origin.strip() for origin in access.settings.cors_origins.split(",") if origin.strip()]
    if origins:  # outside of the guard: a browser asks for permission without a key
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST", "DELETE"], allow_headers=["authorization", "last-event-id"]
        )
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def with_access(app: FastAPI) -> AsyncIterator[Any]:
        writing = asyncio.create_task(access.trail.run(), name="audit log")
        try:
            async with inner(app) as state:
                yield state
                await _last_records(access)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await access.close()

    app.router.lifespan_context = with_access


async def _last_records(access: Access) -> None:
    try:
        async with asyncio.timeout(3):
            await access.trail.flush()
    except TimeoutError:
        log.warning("records of the audit log are only in this log", extra={"lost": access.trail.lost})
