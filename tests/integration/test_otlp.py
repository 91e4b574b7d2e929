"""Metrics by OTLP: what a real HTTP collector decodes is what /metrics shows, and a collector that is away harms nobody."""

from __future__ import annotations

import asyncio
import gzip
import logging
import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from jobtide.cli import serving
from jobtide.cli.otlp.sending import Sender, exporting, headers
from jobtide.query.app import create_app
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import load
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest, ExportMetricsServiceResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest


class Collector:
    """Keeps what was posted to /v1/metrics, decoded; answers `status`."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/metrics" and self.headers["content-type"] == "application/x-protobuf"
                mine.headers.append({name.lower(): value for name, value in self.headers.items()})
                mine.got.append(ExportMetricsServiceRequest.FromString(body))
                self.send_response(mine.status)
                self.end_headers()
                self.wfile.write(ExportMetricsServiceResponse().SerializeToString())

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def metrics(self, n: int = -1) -> dict[str, Any]:
        (resource,) = self.got[n].resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: metric for metric in scope.metrics}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def labels(point: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


async def test_every_kind_of_metric_arrives_with_its_labels_unit_and_value(collector: Collector) -> None:
    registry = CollectorRegistry()
    Counter("jobtide_things", "Things.", ["kind"], registry=registry).labels("ünïque").inc(7)
    Gauge("jobtide_lag_seconds", "Lag.", registry=registry).set(1.5)
    Gauge("jobtide_unknown", "No number.", registry=registry).set(math.nan)
    took = Histogram("jobtide_took_seconds", "Took.", ["q"], registry=registry, buckets=(0.1, 1, 10))
    for value in (0.05, 0.5, 0.6, 99):
        took.labels("mail").observe(value)
    Summary("jobtide_size_bytes", "Size.", registry=registry).observe(12)
    settings = load({"JOBTIDE_OTLP_ENDPOINT": collector.url, "JOBTIDE_OTLP_HEADERS": "api-key=s3cret", "JOBTIDE_OTLP_EVERY_MS": "500"})
    async with exporting(settings, [registry]):
        until = time.monotonic() + 30
        while len(collector.got) < 2:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
    found = collector.metrics()
    things = found["jobtide_things"].sum
    assert things.is_monotonic and things.aggregation_temporality == 2
    assert [(labels(p), p.as_double) for p in things.data_points] == [({"kind": "ünïque"}, 7.0)]
    assert 0 < things.data_points[0].start_time_unix_nano <= things.data_points[0].time_unix_nano
    assert found["jobtide_lag_seconds"].unit == "s" and [p.as_double for p in found["jobtide_lag_seconds"].gauge.data_points] == [1.5]
    assert "jobtide_unknown" not in found
    (histogram,) = found["jobtide_took_seconds"].histogram.data_points
    assert (labels(histogram), histogram.count, list(histogram.bucket_counts), list(histogram.explicit_bounds)) == (
        {"q": "mail"}, 4, [1, 2, 0, 1], [0.1, 1.0, 10.0],
    )  # fmt: skip
    assert histogram.sum == pytest.approx(100.15)
    assert found["jobtide_size_bytes_count"].sum.data_points[0].as_double == 1 and found["jobtide_size_bytes_sum"].unit == "1"
    resource = {each.key: each.value.string_value for each in collector.got[-1].resource_metrics[0].resource.attributes}
    assert resource["service.name"] == "jobtide" and resource["service.version"] and resource["service.instance.id"].endswith(f":{os.getpid()}")
    assert all(each["api-key"] == "s3cret" for each in collector.headers)


async def test_without_an_endpoint_nothing_is_sent_nor_imported() -> None:
    probe = "import sys, asyncio\nfrom jobtide.cli.otlp.sending import exporting\nfrom jobtide.streams.settings import load\n"
    probe += "async def main():\n    async with exporting(load({}), []):\n        pass\nasyncio.run(main())\n"
    probe += "assert not [m for m in sys.modules if m.startswith('opentelemetry')], 'imported'"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", probe, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def test_a_collector_that_refuses_or_is_gone_is_said_once_and_sums_lose_nothing(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    things = Counter("jobtide_things", "Things.", registry=registry)
    sender = Sender(load({"JOBTIDE_OTLP_ENDPOINT": collector.url}), [registry])
    caplog.set_level(logging.INFO, logger="jobtide.cli.otlp.sending")
    collector.status = 400  # not to be tried again
    for _ in range(2):
        things.inc()
        await sender.send()
    collector.status = 200
    await sender.send()
    said = [record.message for record in caplog.records if record.name == "jobtide.cli.otlp.sending"]
    assert said == ["metrics cannot be sent by OTLP now", "metrics are sent by OTLP again"]
    why = [record for record in caplog.records if record.name.startswith("opentelemetry")]
    assert len(why) == 1 and "400" in why[0].getMessage()
    assert collector.metrics()["jobtide_things"].sum.data_points[0].as_double == 2
    sender.close()


async def test_the_api_sends_what_its_metrics_page_shows(collector: Collector) -> None:
    app = create_app(load({}))
    registries = serving._registries(app)
    sender = Sender(load({"JOBTIDE_OTLP_ENDPOINT": collector.url}), registries)
    await sender.send()
    sender.close()
    shown = set(re.findall(r"^# TYPE (\S+) (?:counter|gauge)$", "".join(generate_latest(each).decode() for each in registries), re.MULTILINE))
    shown = {name.removesuffix("_total") for name in shown if not name.endswith("_created")}
    assert {"jobtide_hot_state_up", "jobtide_live_clients_dropped"} <= set(collector.metrics()) & shown
    assert {name for name in collector.metrics() if name.startswith("jobtide_")} <= shown | {f"{name}_info" for name in shown}


def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="JOBTIDE_OTLP_HEADERS must be name=value") as refused:
        headers("s3cret")
    assert "s3cret" not in str(refused.value)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'jobtide\[otlp\]'"):
        Sender(load({"JOBTIDE_OTLP_ENDPOINT": "http://127.0.0.1:1"}), [])
