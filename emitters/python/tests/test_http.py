"""The HTTP transport against a real HTTP server that answers what the test tells it."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jobtide_emitter
import orjson
import pytest
from jobtide_emitter import Emitter


class Gateway:
    """A server that keeps what it accepts; `answers` are given first: (status, headers, body)."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.requests: list[tuple[str, dict[str, str], float, int]] = []
        self.events: list[dict[str, Any]] = []
        self.largest = 1 << 30
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                gateway.requests.append((self.path, headers, time.monotonic(), len(body)))
                status, extra, answer = gateway.answer(body)
                self.send_response(status)
                for name, value in {**extra, "content-length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/events"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if self.answers:
            return self.answers.pop(0)
        if len(body) > self.largest:
            return 413, {}, b"too large"
        found = [orjson.loads(line) for line in body.split(b"\n")]
        self.events.extend(found)
        return 202, {}, orjson.dumps({"accepted": len(found), "rejected": []})


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def to_gateway(gateway: Gateway) -> Emitter:
    return jobtide_emitter.configure(url=gateway.url, token="t0ken", linger_ms=0, request_timeout_ms=2000)


def enqueue(emitter: Emitter, count: int, **more: Any) -> None:
    for number in range(count):
        emitter.job_enqueued(emitter.job("cron", "q", "c", str(number), **more))


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 15
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def subjects(gateway: Gateway) -> list[str]:
    return [event["subject"] for event in gateway.events if event["type"].startswith("job.")]


def test_events_are_posted_whole(to_gateway: Emitter, gateway: Gateway, no_errors: None) -> None:
    enqueue(to_gateway, 50)
    assert to_gateway.flush(5000)
    assert subjects(gateway) == [str(n) for n in range(50)]
    assert {"epoch", "lane", "seq", "id", "partitionkey"} <= set(gateway.events[0])
    path, headers, _, _ = gateway.requests[0]
    assert path == "/v1/events"
    assert headers["authorization"] == "Bearer t0ken"
    assert headers["content-type"] == "application/x-ndjson"
    assert abs(int(headers["sent-at"]) / 1000 - time.time()) < 60


def test_one_connection_is_kept(to_gateway: Emitter, gateway: Gateway) -> None:
    for _ in range(5):
        enqueue(to_gateway, 1)
        assert to_gateway.flush(5000)
    assert len(gateway.requests) == 5
    assert to_gateway._flusher._transport._connection is not None  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [429, 500, 503, 401, 404])
def test_refusals_of_the_moment_are_tried_again(to_gateway: Emitter, gateway: Gateway, status: int) -> None:
    gateway.answers = [(status, {}, b"no")] * 3
    enqueue(to_gateway, 5)
    until(lambda: len(subjects(gateway)) == 5)
    assert gateway.answers == []
    assert len(set(subjects(gateway))) == 5


def test_retry_after_is_obeyed(to_gateway: Emitter, gateway: Gateway) -> None:
    gateway.answers = [(429, {"retry-after": "1"}, b"slow down")]
    enqueue(to_gateway, 1)
    until(lambda: subjects(gateway))
    first, second = (at for _, _, at, _ in gateway.requests)
    assert second - first >= 1.0


def test_bodies_that_are_too_large_get_smaller(to_gateway: Emitter, gateway: Gateway) -> None:
    gateway.largest = 40_000
    enqueue(to_gateway, 500, labels={"pad": "x" * 200})
    until(lambda: len(subjects(gateway)) == 500)
    assert sorted(set(subjects(gateway)), key=int) == [str(n) for n in range(500)]


def test_one_event_that_is_never_taken_does_not_hold_up_the_others(to_gateway: Emitter, gateway: Gateway) -> None:
    gateway.largest = 2000
    enqueue(to_gateway, 1, labels={f"l{n}": "x" * 250 for n in range(12)})
    enqueue(to_gateway, 3)
    until(lambda: len(subjects(gateway)) == 3)


def test_refused_events_are_logged_once(to_gateway: Emitter, gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    answer = orjson.dumps({"accepted": 0, "rejected": [{"line": 1, "reason": "bad_name"}]})
    gateway.answers = [(202, {}, answer)] * 2
    for _ in range(2):
        enqueue(to_gateway, 1)
        assert to_gateway.flush(5000)
    assert caplog.text.count("bad_name") == 1


def test_worker_and_statistics_go_unnumbered_and_once(to_gateway: Emitter, gateway: Gateway) -> None:
    to_gateway.worker("cron", "w", ["q"], 2, lambda: [])
    enqueue(to_gateway, 3)
    to_gateway.close(5000)
    online, offline = ([e for e in gateway.events if e["type"] == f"worker.{k}.v1"] for k in ("online", "offline"))
    (stats,) = [event for event in gateway.events if event["type"] == "emitter.stats.v1"]
    assert (len(online), len(offline)) == (1, 1)
    for event in (*online, *offline, stats):
        assert not {"epoch", "lane", "seq"} & set(event)
    assert stats["data"]["epoch"] == to_gateway.ring.epoch
    assert sum(stats["data"]["next"].values()) == 3
    assert stats["data"]["clean"] is True


def test_nobody_there_is_an_outage_not_an_error(caplog: pytest.LogCaptureFixture, no_errors: None) -> None:
    emitter = jobtide_emitter.configure(url="http://127.0.0.1:9/v1/events", linger_ms=0)
    enqueue(emitter, 1)
    until(lambda: emitter._flusher.down)
    assert not emitter.flush(5000)
    assert "wait in the buffer" in caplog.text


def test_a_server_that_never_answers_is_given_up() -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        emitter = jobtide_emitter.configure(url=url, linger_ms=0, request_timeout_ms=300)
        enqueue(emitter, 1)
        began = time.monotonic()
        until(lambda: emitter._flusher.down)
        assert 0.2 < time.monotonic() - began < 5
