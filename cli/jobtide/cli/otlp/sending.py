"""Sends a process's metrics to an OTLP/HTTP collector every so often. Thin: what is sent is `converted`.

Numbers are collected on the event loop, where nothing changes meanwhile, and sent from a thread. A collector that is away loses readings, never
counts: sums are cumulative. It is said once, and once when it is back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings, variable
from prometheus_client import CollectorRegistry

log = logging.getLogger(__name__)
_its_log = logging.getLogger("opentelemetry.exporter.otlp.proto.http.metric_exporter")

SEND_S = 5.0
LAST_S = 2.0  # at the end of the process one more reading is sent, if the collector takes it by then


@asynccontextmanager
async def exporting(settings: Settings, registries: Sequence[CollectorRegistry]) -> AsyncIterator[None]:
    """While it is open, what `registries` hold is sent, if a collector is named. Raises ConfigError."""
    if not settings.otlp_endpoint:
        yield
        return
    sender = Sender(settings, registries)
    sending = asyncio.create_task(sender.run(), name="otlp")
    try:
        yield
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        with suppress(TimeoutError):
            await asyncio.wait_for(sender.send(), LAST_S)
        sender.close()


class Sender:
    """One process's."""

    def __init__(self, settings: Settings, registries: Sequence[CollectorRegistry]) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        except ImportError:
            raise ConfigError(f"{variable('otlp_endpoint')} needs OpenTelemetry's packages: pip install 'jobtide[otlp]', or leave it empty") from None

        self._registries, self._every_s = registries, settings.otlp_every_ms / 1000
        self._exporter = OTLPMetricExporter(endpoint=target(settings.otlp_endpoint), headers=headers(settings.otlp_headers), timeout=SEND_S)
        release = version("jobtide")
        attributes = {"service.name": "jobtide", "service.version": release, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
        self._resource, self._scope = Resource.create(attributes), InstrumentationScope("jobtide", release)
        self._began_ns = time.time_ns()
        self._failing = False
        _its_log.addFilter(self._first)

    def _first(self, _: logging.LogRecord) -> bool:
        """The exporter's own words say why; once is enough."""
        return not self._failing

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            await self.send()

    async def send(self) -> None:
        """One reading. Never raises for what the collector does."""
        from jobtide.cli.otlp.converted import converted

        families = [family for registry in self._registries for family in registry.collect()]
        data = converted(families, self._resource, self._scope, self._began_ns, time.time_ns())
        self._note(await asyncio.to_thread(self._export, data))

    def _export(self, data: Any) -> bool:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        try:
            return bool(self._exporter.export(data) is MetricExportResult.SUCCESS)
        except Exception:  # of requests, urllib3, TLS: a collector must not end a worker
            log.debug("an OTLP export failed", exc_info=True)
            return False

    def _note(self, sent: bool) -> None:
        if not sent and not self._failing:
            log.warning("metrics cannot be sent by OTLP now", extra={"setting": variable("otlp_endpoint")})
        if sent and self._failing:
            log.info("metrics are sent by OTLP again")
        self._failing = not sent

    def close(self) -> None:
        _its_log.removeFilter(self._first)
        self._exporter.shutdown()


def target(endpoint: str) -> str:
    """Where metrics go, for the base address of a collector, as OpenTelemetry's own setting has it.

    >>> target("http://collector:4318/"), target("https://o.example/otlp/v1/metrics")
    ('http://collector:4318/v1/metrics', 'https://o.example/otlp/v1/metrics')
    """
    base = endpoint.rstrip("/")
    return base if base.endswith("/v1/metrics") else f"{base}/v1/metrics"


def headers(text: str) -> dict[str, str]:
    """Headers of every request, written `name=value,name=value`. Raises ConfigError, without showing the text: it is a secret.

    >>> headers("api-key=s3cret=, x-scope = team ")
    {'api-key': 's3cret=', 'x-scope': 'team'}
    """
    found = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"{variable('otlp_headers')} must be name=value, comma separated")
        found[name.strip()] = value.strip()
    return found
