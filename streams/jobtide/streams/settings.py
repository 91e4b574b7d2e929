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
_UP_KEY_CHARS = 32


def _setting(default: Any, doc: str, *, low: int | None = None, high: int | None = None, secret: bool = False) -> Any:
    return field(default=default, metadata={"doc": doc, "low": low, "high": high, "secret": secret})


@dataclass(frozen=True, slots=True)
class Settings:
    """One process's settings. Field `http_port` is environment variable `JOBTIDE_HTTP_PORT`; units are in the names."""

    broker: str = _setting("127.0.0.1:9092", "Kafka bootstrap servers, host:port, comma separated")
    broker_in_memory: int = _setting(0, "1 for the in-memory broker of `up --ephemeral`, which knows no producer ids", low=0, high=1)
    broker_security_protocol: str = _setting("PLAINTEXT", "Kafka: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    broker_sasl_mechanism: str = _setting("SCRAM-SHA-512", "Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, where the protocol is SASL_…")
    broker_sasl_username: str = _setting("", "Kafka user")
    broker_sasl_password: str = _setting("", "Kafka password", secret=True)
    broker_tls_ca: str = _setting("", "file of the authorities that may sign Kafka's certificate; empty = the system's")
    broker_tls_cert: str = _setting("", "file of our own certificate for Kafka, where it asks for one")
    broker_tls_key: str = _setting("", "file of that certificate's key, not encrypted; empty = in the same file")
    topic_prefix: str = _setting("", "put before every topic name and consumer group, to share one Kafka between installations")
    partitions: int = _setting(8, "partitions of job.events; divides 64 and must be what the topic has", low=1, high=64)
    replication: int = _setting(1, "replicas of the topics jobtide makes; 3 on a cluster that has as many brokers", low=1, high=100)
    redis_url: str = _setting("redis://127.0.0.1:6379/0", "Redis or Valkey that holds the live answers", secret=True)
    redis_tls_ca: str = _setting("", "file of the authorities that may sign the certificate of a rediss:// server; empty = the system's")
    redis_prefix: str = _setting("jt:", "put before every Redis key")
    clickhouse_url: str = _setting("http://127.0.0.1:8123", "history: http(s)://host:port, or chdb:///directory for the embedded engine")
    clickhouse_user: str = _setting("default", "ClickHouse user")
    clickhouse_password: str = _setting("", "ClickHouse password", secret=True)
    clickhouse_tls_ca: str = _setting("", "file of the authorities that may sign the certificate of an https:// ClickHouse; empty = known ones")
    clickhouse_reader_user: str = _setting("", "ClickHouse user for analysts' SQL and exports; empty = the one above, read-only all the same")
    clickhouse_reader_password: str = _setting("", "its password", secret=True)
    clickhouse_database: str = _setting("jobtide", "ClickHouse database")
    http_host: str = _setting("127.0.0.1", "address the HTTP port binds to; anything but loopback needs JOBTIDE_KEYS_FILE or JOBTIDE_OIDC_ISSUER")
    http_port: int = _setting(8321, "port of the gateway and the query API", low=0, high=65535)
    keys_file: str = _setting("", "file of the API keys (`jobtide keys create`), read again when it changes; empty = no keys: loopback only, open")
    key: str = _setting("", "API key that the command line sends", secret=True)
    up_key: str = _setting("", "what `jobtide up` proves itself with to the processes it starts; nobody else sets it", secret=True)
    rate_per_minute: int = _setting(1200, "requests of one API key per minute, where it says nothing else; 0 = no limit", low=0, high=10_000_000)
    ingest_rate_per_minute: int = _setting(0, "requests to /v1/events of one ingest key per minute; 0 = no limit", low=0, high=10_000_000)
    cors_origins: str = _setting("", "origins whose web pages may ask the API, comma separated; empty = none but our own")
    oidc_issuer: str = _setting("", "issuer of OpenID Connect tokens that are taken beside API keys; empty = none are")
    oidc_audience: str = _setting("jobtide", "audience that such a token must name")
    oidc_jwks: str = _setting("", "the issuer's public keys: a file or an https:// URL of a JSON Web Key Set")
    oidc_role_claim: str = _setting("jobtide_role", "claim that holds viewer, operator or admin; a list counts by its highest")
    oidc_tenants_claim: str = _setting("jobtide_tenants", "claim that lists the tenants; `*` in it is all, none is none")
    stages: str = _setting("1,2", "what a worker does: 1 = events to panes, 2 = panes to live answers, or both")
    disorder_ms: int = _setting(2000, "how far events may be out of order before they count as late", low=0, high=600_000)
    flush_ms: int = _setting(1000, "time between two checkpoints of a source partition", low=50, high=60_000)
    publish_ms: int = _setting(250, "time between two publications of closed panes and of live answers", low=20, high=10_000)
    session_timeout_ms: int = _setting(10_000, "Kafka group session: a dead worker is replaced after this", low=1000, high=300_000)
    rules: str = _setting("", "file with the alert rules; empty = the default rules. Read again when it changes")
    receivers: str = _setting("", "file that says who is told about alerts; empty = nobody. Read again when it changes")
    webhook_allow: str = _setting("", "private networks that receivers may be in, such as 10.1.0.0/16, comma separated")
    public_url: str = _setting("", "address of the API as people reach it, for links in alerts")
    api_url: str = _setting("", "address of the API as the notifier reaches it, to ask for examples; empty = alerts carry none")
    api_key: str = _setting("", "key with which the notifier asks it", secret=True)
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
    retention_alerts_days: int = _setting(400, "days that changes of alerts are kept in history", low=1, high=20_000)
    retention_audit_days: int = _setting(400, "days that the record of who did what is kept in history", low=1, high=20_000)
    query_max_s: int = _setting(10, "longest time an analyst's query may take", low=1, high=3600)
    query_max_rows: int = _setting(10_000, "most rows in the answer to an analyst's query; more are cut off", low=1, high=1_000_000)
    query_max_memory_mb: int = _setting(1000, "most memory an analyst's query or an export may use", low=10, high=1_000_000)
    otlp_endpoint: str = _setting("", "OTLP/HTTP collector for metrics, such as http://collector:4318; empty = none; needs jobtide[otlp]")
    otlp_headers: str = _setting("", "headers sent to it, name=value, comma separated", secret=True)
    otlp_every_ms: int = _setting(30_000, "time between two readings that are sent to it", low=500, high=3_600_000)
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

    @property
    def guarded(self) -> bool:
        """True if callers have to prove who they are."""
        return bool(self.keys_file or self.oidc_issuer)

    def topic(self, name: str) -> str:
        """The full name of topic `name` under this installation's prefix."""
        return self.topic_prefix + name


def _redact(value: Any, secret: bool) -> Any:
    if isinstance(value, str) and "://" in value and urlsplit(value).scheme:
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
    if s.otlp_endpoint and (urlsplit(s.otlp_endpoint).scheme not in ("http", "https") or not urlsplit(s.otlp_endpoint).hostname):
        raise ConfigError(f"{variable('otlp_endpoint')} must be http(s)://host:port of an OTLP/HTTP collector.")
    _check_security(s)
    for server in s.broker.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(f"{variable('broker')} must be host:port, not {server!r}.")


def _check_security(s: Settings) -> None:
    protocol, mechanism = s.broker_security_protocol, s.broker_sasl_mechanism
    if protocol not in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"):
        raise ConfigError(f"{variable('broker_security_protocol')} must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, not {protocol!r}.")
    if protocol.startswith("SASL"):
        if mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            raise ConfigError(f"{variable('broker_sasl_mechanism')} must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, not {mechanism!r}.")
        if not s.broker_sasl_username or not s.broker_sasl_password:
            raise ConfigError(f"{protocol} needs {variable('broker_sasl_username')} and {variable('broker_sasl_password')}.")
    elif s.broker_sasl_username or s.broker_sasl_password:
        raise ConfigError(f"{variable('broker_sasl_username')} is set, but {variable('broker_security_protocol')} is {protocol}: make it SASL_…")
    if s.broker_tls_cert and not protocol.endswith("SSL"):
        raise ConfigError(f"{variable('broker_tls_cert')} is set, but {variable('broker_security_protocol')} is {protocol}: make it SSL or SASL_SSL.")
    if s.oidc_issuer and not s.oidc_jwks:
        raise ConfigError(f"{variable('oidc_issuer')} needs {variable('oidc_jwks')}, the file or URL of the issuer's public keys.")
    if s.oidc_jwks.startswith("http://") and not is_loopback(urlsplit(s.oidc_jwks).hostname or ""):
        raise ConfigError(f"{variable('oidc_jwks')} must be a file or start with https://: whoever answers it decides who gets in.")
    if s.up_key and len(s.up_key) < _UP_KEY_CHARS:
        raise ConfigError(f"{variable('up_key')} is too short to be a secret: leave it out, `jobtide up` makes one.")


def is_loopback(host: str) -> bool:
    """True if binding to `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
