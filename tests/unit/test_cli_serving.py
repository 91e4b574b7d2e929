"""The HTTP server: loopback only, no web page's requests, an orderly end with what runs beside it."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from jobtide.cli import serving
from jobtide.cli.embedded.ports import free_block
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import load


def application(log: list[str]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        log.append("open")
        yield
        log.append("closed")

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def root() -> str:
        return "here"

    return app


def when_up(port: int, then: Callable[[], None]) -> None:
    """Call `then` from a thread once the port answers."""

    def wait() -> None:
        for _ in range(500):
            try:
                httpx.get(f"http://127.0.0.1:{port}/")
                break
            except httpx.TransportError:
                threading.Event().wait(0.02)
        then()

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:1234"}, 200),
        ({"host": "gateway:8321"}, 200),
        ({"host": "rebound.example:8321"}, 403),
        ({"host": "localhost.example"}, 403),
        ({"origin": "http://page.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "localhost:8321", "origin": "http://localhost:8321"}, 200),
        ({"host": "localhost:8321", "origin": "http://localhost:9999"}, 403),
    ],
)
async def test_only_local_programs_and_own_pages_get_in(headers: dict[str, str], status: int) -> None:
    transport = httpx.ASGITransport(serving.LocalOnly(application([])))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8321") as client:
        assert (await client.get("/", headers=headers)).status_code == status


def test_it_binds_loopback_only_without_keys() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example"):
        with pytest.raises(ConfigError, match=r"without API keys: set JOBTIDE_KEYS_FILE .*jobtide keys create"):
            serving.serve(application([]), load({}, http_host=host, http_port=0))
    serving.require_loopback_or_keys(load({}, http_host="0.0.0.0", keys_file="keys.json"))
    serving.listener("0.0.0.0", 0).close()


async def test_every_answer_has_the_headers_that_browsers_need_and_keys_replace_the_local_fence() -> None:
    open_, guarded = load({}), load({}, keys_file="keys.json")
    for settings, status in ((open_, 403), (guarded, 200)):
        transport = httpx.ASGITransport(serving.fenced(application([]), settings))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="https://jobtide.example") as client:
            answer = await client.get("/")
        assert answer.status_code == status  # a name in DNS: fenced off where there are no keys
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "no-store"


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:\d+ .*JOBTIDE_HTTP_PORT or --port"):
            serving.listener("127.0.0.1", taken.getsockname()[1])


def test_sigterm_ends_server_application_and_companion_in_order() -> None:
    log: list[str] = []
    port = free_block(1)

    async def beside(stop: asyncio.Event) -> None:
        await stop.wait()
        log.append("companion")

    when_up(port, lambda: os.kill(os.getpid(), signal.SIGTERM))
    serving.serve(application(log), load({}, http_port=port), beside=beside)
    assert log == ["open", "companion", "closed"]


def test_a_companion_that_fails_ends_everything_with_its_error() -> None:
    log: list[str] = []
    port = free_block(1)
    failed = threading.Event()

    async def beside(stop: asyncio.Event) -> None:
        while not failed.is_set():
            await asyncio.sleep(0.01)
        raise ConfigError("the store refuses")

    when_up(port, failed.set)
    with pytest.raises(ConfigError, match="the store refuses"):
        serving.serve(application(log), load({}, http_port=port), beside=beside)
    assert log == ["open", "closed"]


def test_an_application_that_cannot_start_says_why() -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        raise ConfigError("topic job.events has 4 partitions")
        yield

    with pytest.raises(ConfigError, match="4 partitions"):
        serving.serve(FastAPI(lifespan=lifespan), load({}, http_port=free_block(1)))
