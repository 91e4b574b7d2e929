"""Which receivers' addresses are refused, by a corpus of tricks; and that a refused one is never connected to."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence

import pytest
from jobtide.sinks.webhook import http
from jobtide.sinks.webhook.addresses import Refusal, blocked, networks, refuse_endpoint, refuse_url

BLOCKED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "192.88.99.1", "::", "::1", "::127.0.0.1", "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::7f00:1",
    "64:ff9b:1::808:808", "64:ff9b:1:7f00:0:100::",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:c0a8:101::", "2001:0:7f00:1::", "fe80::1", "fe80::5efe:7f00:1", "fc00::1", "fd00:ec2::254",
    "fec0::1", "ff02::1", "2001:db8::1", "100::1", "2001:10::1", "3fff::1", "5f00::1",
]  # fmt: skip
FINE = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "::ffff:8.8.8.8",
    "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("text", BLOCKED)
def test_no_private_local_or_reserved_address_however_it_is_wrapped(text: str) -> None:
    assert blocked(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", FINE)
def test_addresses_of_the_internet_are_fine(text: str) -> None:
    assert not blocked(ipaddress.ip_address(text))


def test_an_allowed_network_is_allowed_and_its_neighbours_are_not() -> None:
    allow = networks("10.1.0.0/16, fd00::/8")
    asked = ("10.1.2.3", "10.2.0.1", "fd00::1", "::ffff:10.1.2.3")
    assert [blocked(ipaddress.ip_address(text), allow) for text in asked] == [False, True, False, True]
    with pytest.raises(ValueError, match="300"):
        networks("10.0.0.0/300")


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("ftp://example.com/", Refusal.SCHEME),
        ("file:///etc/passwd", Refusal.SCHEME),
        ("gopher://example.com/", Refusal.SCHEME),
        ("https://user@example.com/", Refusal.USERINFO),
        ("https://user:secret@example.com/", Refusal.USERINFO),
        ("https://example.com@127.0.0.1/", Refusal.USERINFO),
        ("https://@127.0.0.1/", Refusal.USERINFO),
        ("https:///path", Refusal.HOST),
        ("https://example.com:99999/", Refusal.HOST),
        ("https://[::1", Refusal.HOST),
        ("https://example.com/hook", None),
    ],
)
def test_an_address_that_is_no_receivers_is_refused_by_its_form(url: str, refusal: Refusal | None) -> None:
    assert refuse_url(url) is refusal


def test_one_bad_address_of_several_is_enough_and_odd_ports_and_plain_http_are_refused() -> None:
    assert refuse_endpoint("https", 443, ["1.1.1.1", "127.0.0.1"]) is Refusal.ADDRESS
    assert refuse_endpoint("https", 443, []) is Refusal.UNRESOLVED
    assert refuse_endpoint("https", 22, ["1.1.1.1"]) is Refusal.PORT
    assert refuse_endpoint("https", 6379, ["1.1.1.1"]) is Refusal.PORT
    assert refuse_endpoint("http", 80, ["1.1.1.1"]) is Refusal.SCHEME
    assert refuse_endpoint("https", 443, ["1.1.1.1"]) is None
    assert refuse_endpoint("http", 9999, ["10.1.2.3"], networks("10.1.0.0/16")) is None


class Trap:
    """A real server on loopback that notes every connection."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0
        self.answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        self.requests: list[bytes] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        self.requests.append(head + await reader.readexactly(length))
        writer.write(self.answer)
        await writer.drain()
        writer.close()

    async def __aenter__(self) -> Trap:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


LOOPBACK = networks("127.0.0.0/8")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "0", "127.0.0.1."]
)
async def test_nothing_is_sent_to_this_machine_however_it_is_spelled(host: str) -> None:
    async with Trap() as trap:
        for scheme in ("http", "https"):
            answer = await http.post(f"{scheme}://{host}:{trap.port}/", b"{}", {})
            assert answer.status is None and answer.error
        assert trap.connections == 0


async def test_a_name_that_resolves_to_this_machine_the_second_time_is_resolved_once() -> None:
    """DNS rebinding: fine when it is checked, ours when it is connected to."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["203.0.113.9"] if len(asked) == 1 else ["127.0.0.1"]

    async with Trap() as trap:
        allow = networks("203.0.113.0/24")  # stands for the internet: nobody answers there
        _, addresses = await http.checked(f"http://rebound.test:{trap.port}/", allow, rebinding)
        assert addresses == ["203.0.113.9"] and asked == ["rebound.test"]
        resolver = http._Pinned("rebound.test", addresses)
        assert [each["host"] for each in await resolver.resolve("rebound.test", 80)] == ["203.0.113.9"]
        with pytest.raises(OSError, match="was not checked"):
            await resolver.resolve("other.test", 80)
        assert trap.connections == 0


async def test_a_mixed_answer_of_the_resolver_is_refused_whole() -> None:
    async def mixed(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34", "127.0.0.1"]

    async with Trap() as trap:
        answer = await http.post(f"https://mixed.test:{trap.port}/", b"{}", {}, (), mixed)
        assert answer.error.startswith("refused: an address") and trap.connections == 0


async def test_a_redirect_to_the_metadata_service_is_not_followed() -> None:
    async with Trap() as trap, Trap() as other:
        trap.answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:%d/latest/meta-data\r\ncontent-length: 0\r\n\r\n" % other.port
        answer = await http.post(f"http://127.0.0.1:{trap.port}/", b"{}", {}, LOOPBACK)
        assert (answer.status, answer.error) == (302, "redirects are not followed")
        assert (trap.connections, other.connections) == (1, 0)


async def test_an_allowed_receiver_gets_the_bytes_the_headers_and_its_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # a proxy of the environment would be a way around the check

    async def look(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with Trap() as trap:
        answer = await http.post(f"http://hooks.test:{trap.port}/a?b=c", b'{"x":1}', {"webhook-id": "msg_1"}, LOOPBACK, look)
        assert answer.status == 204
        head, _, body = trap.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /a?b=c HTTP/1.1") and b"host: hooks.test:" in head.lower() and b"webhook-id: msg_1" in head.lower()
        assert body == b'{"x":1}'


async def test_a_name_beyond_ascii_is_looked_up_checked_and_connected_to_in_one_form() -> None:
    asked: list[str] = []

    async def look(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with Trap() as trap:
        answer = await http.post(f"http://bücher.test:{trap.port}/", b"{}", {}, LOOPBACK, look)
        assert (answer.status, answer.error, asked) == (204, "", ["xn--bcher-kva.test"])
