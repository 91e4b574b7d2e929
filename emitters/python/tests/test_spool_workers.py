"""Real workers while nothing can be delivered, with a buffer much too small: no job notices, and the spool has the whole story.

Everything dies before the receiver comes: the driver, the worker, its pool processes and work horses. A later process
finds what they left and delivers it.
"""

from __future__ import annotations

import gzip
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jobtide_emitter
import orjson
import pytest
from shop_run import Shop, until
from test_real_workers import assert_same_story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


class Receiver(ThreadingHTTPServer):
    """Takes everything."""

    def __init__(self, port: int) -> None:
        self.events: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
        self.server.events.extend(orjson.loads(line) for line in body.split(b"\n"))
        self.send_response(202)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def once_each(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Repeats under one number are one event, as the stream has it."""
    return list({(event["epoch"], event["lane"], event["seq"]): event for event in events if "seq" in event}.values())


@pytest.mark.parametrize("backend", ["celery", "rq", "dramatiq"])
def test_an_outage_longer_than_every_process(redis_url: str, tmp_path: Path, backend: str) -> None:
    port, spool = free_port(), tmp_path / "spool"
    url = f"http://127.0.0.1:{port}/v1/events"
    settings = {
        "JOBTIDE_EMITTER_BROKER": "", "JOBTIDE_EMITTER_URL": url, "JOBTIDE_EMITTER_SPOOL_DIR": str(spool), "JOBTIDE_EMITTER_QUEUE_EVENTS": "100",
    }  # fmt: skip
    shop = Shop(backend, redis_url, "", "job.events", tmp_path, settings)
    with shop.worker():
        shop.drive(60, "--run-ms", "1")
    assert list(spool.glob("*.spool"))
    receiver = Receiver(port)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    try:
        emitter = jobtide_emitter.configure(url=url, spool_dir=str(spool), linger_ms=0, source="/drain")
        emitter.emit("queue.paused.v1", {"system": "cron", "queue": "q"}, partitionkey="default/cron/q/q")
        until(lambda: emitter.flush(1000) and not list(spool.glob("*.spool")))
    finally:
        receiver.shutdown()
        receiver.server_close()
    assert_same_story(shop, once_each(receiver.events))
