"""What a request needs, and whether a caller has it. Pure.

Reading needs a viewer, changing an operator, `/v1/admin/…` an admin, sending events an ingest key. A caller that is
confined to tenants must ask about one of them: `tenant` is put into its query if there is one only. Routes that do not
take `tenant` are refused to it elsewhere (`guard.takes_tenant`), so that a new route cannot forget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from jobtide.access.caller import Caller, Role

EVENTS = "/v1/events"
ADMIN = "/v1/admin/"
METRICS = "/metrics"
# Need no key: they say nothing about jobs. The two last are what draws and describes the API.
FREE = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect"})
# Asked by POST because the question is long, or because the protocol is: they change nothing.
READING_POSTS = frozenset({"/v1/rules/check", "/v1/rules/backtest", "/v1/query", "/mcp"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Denied:
    """An answer that is no: HTTP status and one sentence that says what would be right."""

    status: int
    detail: str


def needed(method: str, path: str) -> Role | None:
    """The role a request needs; None is none.

    >>> needed("GET", "/v1/queues"), needed("POST", "/v1/silences"), needed("GET", "/v1/admin/audit"), needed("GET", "/healthz")
    (<Role.VIEWER: 'viewer'>, <Role.OPERATOR: 'operator'>, <Role.ADMIN: 'admin'>, None)
    """
    if path in FREE:
        return None
    if path.startswith(ADMIN):
        return Role.ADMIN
    if path == EVENTS and method not in _READING:
        return Role.INGEST
    return Role.VIEWER if method in _READING or (method == "POST" and path in READING_POSTS) else Role.OPERATOR


def role_denied(caller: Caller, method: str, path: str) -> Denied | None:
    """None if the caller's role is enough."""
    role = needed(method, path)
    if role is None or (caller.role is not None and caller.role.covers(role)):
        return None
    return Denied(403, f"this needs the role {role.value}, and the key is {_an(caller.role)}")


def confined(caller: Caller, path: str, query: bytes) -> bytes | Denied:
    """The query string with the caller's tenant in it, or why not."""
    if caller.tenants is None or not path.startswith("/v1/") or path == EVENTS:
        if caller.tenants is not None and path == METRICS:
            return Denied(403, "/metrics is about all tenants, and the key is for some: make a viewer key without --tenant")
        return query
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="utf-8", errors="replace")
    asked = [value for name, value in pairs if name == "tenant"]
    strangers = sorted({tenant for tenant in asked if tenant not in caller.tenants})
    if strangers:
        return Denied(403, f"the key is for {_list(caller.tenants)}, not for tenant {strangers[0][:200]!r}")
    if len(asked) > 1:
        return Denied(422, "tenant: given more than once")
    if asked:
        return query
    if len(caller.tenants) != 1:
        return Denied(403, f"the key is for {_list(caller.tenants)}: say which with tenant=")
    return urlencode([*pairs, ("tenant", caller.tenants[0])]).encode()


def _list(tenants: Sequence[str]) -> str:
    if not tenants:
        return "no tenant"
    return ("tenant " if len(tenants) == 1 else "the tenants ") + ", ".join(tenants[:20])


def _an(role: Role | None) -> str:
    return "none" if role is None else f"{'an' if role.value[0] in 'aio' else 'a'} {role.value}"
