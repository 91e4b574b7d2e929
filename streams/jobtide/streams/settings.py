"""Every setting of every jobtide process, read once from the environment into one frozen struct.

Not configuration of emitters: those live in the user's application and read `JOBTIDE_EMITTER_*` themselves.
An unknown `JOBTIDE_*` name is refused at boot, because a mistyped setting that is silently ignored is found at 3 a.m.
The table in the README is compared with this struct by a test.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from jobtide.streams.errors import ConfigError

PREFIX = "JOBTIDE_"
EMITTER_PREFIX = "JOBTIDE_EMITTER_"
LANES = 64


def _setting(default: Any, doc: str, *, low: int | None = None, high: int | None = None, secret: bool = False) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "secret": secret})


@dataclass(frozen=True, slots=True)
class Settings:
    """One process's settings. Field `http_port` is environment variable `JOBTIDE_HTTP_PORT`; units are in the names."""

    broker: str = _setting("127.0.0.1:9092", "Kafka bootstrap servers, host:port, comma separated")
    broker_in_memory: int = _setting(0, "1 for the in-memory broker of `up --ephemeral`, which knows no producer ids", low=0, high=1)
    topic_prefix: str = _setting("", "put before every topic name and consumer group, to share one Kafka between installations")
    partitions: int = _setting(8, "partitions of job.events; divides 64 and must be what the topic has", low=1, high=64)
    replication: int = _setting(1, "replicas of the topics jobtide makes; 3 on a cluster that has as many brokers", low=1, high=100)
    redis_url: str = _setting("redis://127.0.0.1:6379/0", "Redis or Valkey that holds the live answers", secret=True)
    redis_prefix: str = _setting("jt:", "put before every Redis key")
    clickhouse_url: str = _setting("http://127.0.0.1:8123", "history: http(s)://host:port, or chdb:///directory for the embedded engine")
    clickhouse_user: str = _setting("default", "ClickHouse user")
    clickhouse_password: str = _setting("", "ClickHouse password", secret=True)
    clickhouse_database: str = _setting("jobtide", "ClickHouse database")
    http_host: str = _setting("127.0.0.1", "address the HTTP port binds to; only loopback until API keys exist")
    http_port: int = _setting(8321, "port of the gateway and the query API", low=0, high=65535)
    stages: str = _setting("1,2", "what a worker does: 1 = events to panes, 2 = panes to live answers, or both")
    disorder_ms: int = _setting(2000, "how far events may be out of order before they count as late", low=0, high=600_000)
    flush_ms: int = _setting(1000, "time between two checkpoints of a source partition", low=50, high=60_000)
    publish_ms: int = _setting(250, "time between two publications of closed panes and of live answers", low=20, high=10_000)
    session_timeout_ms: int = _setting(10_000, "Kafka group session: a dead worker is replaced after this", low=1000, high=300_000)
    max_series: int = _setting(20_000, "live series per source partition; further classes are counted as __other__", low=1, high=10_000_000)
    max_waiting: int = _setting(
        1_000_000, "open attempts remembered over all partitions; older ones are repaired from started.enqueued_at", low=1000, high=100_000_000
    )
    gateway_max_body_bytes: int = _setting(8 << 20, "largest request body the gateway takes, before and after gunzip", low=1024, high=1 << 30)
    gateway_max_inflight_bytes: int = _setting(64 << 20, "request bytes waiting for Kafka before the gateway answers 429", low=1024, high=1 << 34)
    history_batch_events: int = _setting(50_000, "most events in one insert of the history writer", low=1, high=1_000_000)
    history_batch_ms: int = _setting(1000, "longest wait before the history writer inserts what it has", low=10, high=60_000)
    rollup_every_ms: int = _setting(10_000, "shortest time between two recomputations of dirty minutes", low=10, high=3_600_000)
    # 20 000 days at most: ClickHouse's 32-bit times end in 2106, and a sum beyond wraps around to long ago.
    retention_events_days: int = _setting(90, "days that events are kept in history", low=1, high=20_000)
    retention_executions_days: int = _setting(90, "days that executions are kept in history", low=1, high=20_000)
    retention_rollups_days: int = _setting(400, "days that minute rollups and deploys are kept in history", low=1, high=20_000)
    retention_workers_days: int = _setting(7, "days that worker snapshots are kept in history", low=1, high=20_000)
    retention_queues_days: int = _setting(30, "days that queue snapshots, pauses and resumptions are kept in history", low=1, high=20_000)
    metrics_port: int = _setting(0, "port of a worker's /healthz and /metrics on loopback; 0 = none", low=0, high=65535)
    cursor_key: str = _setting("", "key that signs page cursors; empty = a random one per start", secret=True)
    data_dir: str = _setting("jobtide-data", "directory of the embedded set")
    pure: int = _setting(0, "1 to run the hot path as plain Python even where it has been compiled (same results, slower)", low=0, high=1)
    log_level: str = _setting("info", "debug, info, warning or error")

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{k}={v!r}' for k, v in self.redacted().items())})"

    def redacted(self) -> dict[str, Any]:
        """All settings with secrets, and passwords inside URLs, replaced by `***`."""
        return {f.name: _redact(getattr(self, f.name), f.metadata["secret"]) for f in fields(self)}

    def topic(self, name: str) -> str:
        """The full name of topic `name` under this installation's prefix."""
        return self.topic_prefix + name


def _redact(value: Any, secret: bool) -> Any:
    if isinstance(value, str) and "://" in value:
        url = urlsplit(value)
        return value.replace(url.netloc, "***@" + url.netloc.rpartition("@")[2]) if "@" in url.netloc else value
    return "***" if secret and value else value


def variable(name: str) -> str:
    """The environment variable of a field: `http_port` → `JOBTIDE_HTTP_PORT`."""
    return PREFIX + name.upper()


def load(environ: Mapping[str, str], **overrides: Any) -> Settings:
    """Read the settings; `overrides` (command line flags) win over the environment.

    Raises ConfigError, naming the setting and the fix, for an unknown name, a wrong type or a value out of range.
    """
    known = {variable(f.name): f for f in fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name.startswith(EMITTER_PREFIX):
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(f"{name} is not a jobtide setting{f'; did you mean {near[0]}?' if near else ''}. Unset it or correct the name.")
        values[known[name].name] = _parse(name, text, known[name])
    values.update({k: v for k, v in overrides.items() if v is not None})
    settings = Settings(**values)
    _check(settings)
    return settings


def _parse(name: str, text: str, spec: Any) -> Any:
    if not isinstance(spec.default, int):
        return text
    try:
        number = int(text)
    except ValueError:
        raise ConfigError(f"{name} must be a whole number, not {text!r}.") from None
    low, high = spec.metadata["low"], spec.metadata["high"]
    if not low <= number <= high:
        raise ConfigError(f"{name} must be from {low} to {high}, not {number}.")
    return number


def _check(s: Settings) -> None:
    if LANES % s.partitions:
        raise ConfigError(f"{variable('partitions')} must divide {LANES} (1, 2, 4, 8, 16, 32 or 64), not {s.partitions}.")
    if s.stages not in ("1", "2", "1,2"):
        raise ConfigError(f"{variable('stages')} must be 1, 2 or 1,2, not {s.stages!r}.")
    if s.log_level not in ("debug", "info", "warning", "error"):
        raise ConfigError(f"{variable('log_level')} must be debug, info, warning or error, not {s.log_level!r}.")
    if urlsplit(s.clickhouse_url).scheme not in ("http", "https", "chdb"):
        raise ConfigError(f"{variable('clickhouse_url')} must start with http://, https:// or chdb:///, not {s.clickhouse_url!r}.")
    if urlsplit(s.redis_url).scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(f"{variable('redis_url')} must start with redis://, rediss:// or unix://.")
    for server in s.broker.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(f"{variable('broker')} must be host:port, not {server!r}.")


def is_loopback(host: str) -> bool:
    """True if binding to `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
