"""Sends one request over HTTP to a receiver outside: the name is resolved once, every address is checked, and the connection goes to those.

No redirect is followed, no proxy of the environment is used, little is read of an answer. aiohttp, because its resolver is ours to replace:
what was checked is what is connected to, with the name still in TLS and in Host.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from jobtide.sinks.webhook.addresses import Network, Refusal, refuse_endpoint, refuse_url
from yarl import URL

TIMEOUT_S = 15.0
READ_BYTES = 16 << 10

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]


class Answer(NamedTuple):
    """`status` None: there was none, `error` says why."""

    status: int | None
    error: str = ""
    retry_after: str | None = None


async def look_up(host: str, port: int) -> list[str]:
    """All addresses of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)


class _Pinned(AbstractResolver):
    """Knows one name, already resolved and checked."""

    def __init__(self, host: str, addresses: Sequence[str]) -> None:
        self._host, self._addresses = host, addresses

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        if host != self._host:
            raise OSError(f"{host} was not checked")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in self._addresses
        ]  # fmt: skip

    async def close(self) -> None:
        pass


async def checked(url: str, allow: Sequence[Network], look: Lookup = look_up) -> tuple[URL, list[str]]:
    """The address taken apart, and the addresses that may be connected to. Raises _Refused, OSError."""
    if (refusal := refuse_url(url)) is not None:
        raise _Refused(refusal)
    parsed = URL(url)
    # As aiohttp asks the resolver for it: a name with letters beyond ASCII in its ASCII form.
    host, port = parsed.raw_host or "", parsed.port or 0
    addresses = list(await look(host, port))
    if (refusal := refuse_endpoint(parsed.scheme, port, addresses, allow)) is not None:
        raise _Refused(refusal)
    return parsed, addresses


async def post(
    url: str, body: bytes, headers: Mapping[str, str], allow: Sequence[Network] = (), look: Lookup = look_up, tls: ssl.SSLContext | None = None
) -> Answer:
    """Never raises for what the receiver or the network does."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            parsed, addresses = await checked(url, allow, look)
            return await _post(parsed, addresses, body, headers, tls)
    except _Refused as error:
        return Answer(None, f"refused: {error}")
    except TimeoutError:
        return Answer(None, f"no answer within {TIMEOUT_S:.0f} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Answer(None, f"{type(error).__name__}: {error}"[:300])


async def _post(parsed: URL, addresses: list[str], body: bytes, headers: Mapping[str, str], tls: ssl.SSLContext | None) -> Answer:
    # A literal address is connected to as it is: it was what `checked` looked at.
    resolver = _Pinned(parsed.raw_host or "", addresses)
    more: dict[str, Any] = {"ssl": tls} if tls is not None else {}
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True, limit=1, **more)
    async with (
        aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.post(parsed, data=body, headers={"user-agent": "jobtide", **headers}, allow_redirects=False) as answer,
    ):
        await answer.content.read(READ_BYTES)
        error = "redirects are not followed" if 300 <= answer.status < 400 else ""
        return Answer(answer.status, error, answer.headers.get("retry-after"))
