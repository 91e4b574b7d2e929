"""What the emitter is told: one frozen record from JOBTIDE_EMITTER_* and from `configure(...)`.

Reads no file and opens nothing. Values come from the environment, arguments win over them. A wrong value raises
ConfigError here; who asked decides what that means (`configure` lets it out, an implicit start turns the emitter off).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from jobtide_emitter.errors import ConfigError

PREFIX = "JOBTIDE_EMITTER_"
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def _setting(default: Any, doc: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"doc": doc}, repr=not secret)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. Each is JOBTIDE_EMITTER_ + its name in capitals, or a keyword of `configure`."""

    url: str = _setting("", "gateway to post to: http(s)://host:port/v1/events")
    broker: str = _setting("", "Kafka bootstrap servers, host:port[,host:port]; used instead of `url`")
    topic: str = _setting("job.events", "Kafka topic of events")
    client: str = _setting("auto", "Kafka client: confluent, aiokafka, or auto (the first that is installed)")
    tenant: str = _setting("default", "tenant all events belong to: a-z, 0-9, _ and -, at most 63 characters")
    environment: str = _setting("default", "environment: production, staging, …; at most 64 characters")
    disabled: bool = _setting(False, "the off switch: hooks do nothing, no thread is started, nothing is sent")
    off_file: str = _setting("", "while this file exists nothing is told: an off switch that needs no restart; looked for once a second")
    source: str = _setting("", "who emits, for the completeness ledger; by default /host/pid")
    token: str = _setting("", "bearer token for the gateway", secret=True)
    security_protocol: str = _setting("PLAINTEXT", "Kafka: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
    sasl_mechanism: str = _setting("", "Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    sasl_username: str = _setting("", "Kafka user")
    sasl_password: str = _setting("", "Kafka password", secret=True)
    tls_ca: str = _setting("", "file with the authorities that may sign the broker's or gateway's certificate")
    queue_events: int = _setting(20_000, "events kept while nothing can be delivered; at least 100")
    queue_bytes: int = _setting(16 << 20, "bytes of them; at least 65536")
    spool_dir: str = _setting("", "directory for events that the buffer cannot hold while nothing can be delivered; empty: they are dropped")
    spool_bytes: int = _setting(64 << 20, "bytes of them, of all processes together; at least 1048576")
    linger_ms: int = _setting(50, "how long the first event of a pack waits for company")
    # more than one answer takes: a broker that is only slow (it starts, its machine is busy) must not cost a short process its events
    flush_timeout_ms: int = _setting(8_000, "longest wait when a process ends; near zero while delivery is known to fail")
    request_timeout_ms: int = _setting(5_000, "longest wait for one answer of broker or gateway, in the background thread")
    heartbeat_ms: int = _setting(10_000, "time between two heartbeats of a worker")
    snapshot_ms: int = _setting(10_000, "time between two queue.snapshot of a queue, from the one worker that is elected for it")
    stats_ms: int = _setting(10_000, "time between two emitter.stats of a process")
    error_detail: str = _setting("full", "what leaves of an error: class, message, or full (with backtrace)")
    error_masking: str = _setting("strict", "what is masked in messages and backtraces: strict (secrets, quoted values, source), secrets, or off")
    args: str = _setting("", "job classes whose arguments may leave, masked: name[,name]; * is all")
    args_mask: str = _setting(
        "passw,pwd,secret,token,api_key,apikey,authorization,credential,cookie,card,cvv,iban,ssn",
        "names of arguments that are masked, as parts of the name",
    )
    release: str = _setting("", "the release that runs, told once by each worker as it starts: deploy.marked")
    tag: str = _setting("", "what people call this worker, such as `mail-eu`: shown beside its id")

    def __post_init__(self) -> None:
        _check(self)

    @property
    def target(self) -> str:
        """Where events go, for people: no secrets. Empty when neither url nor broker is set."""
        return f"{self.broker} {self.topic}" if self.broker else self.url

    @property
    def active(self) -> bool:
        """Whether anything is to be sent at all."""
        return not self.disabled and bool(self.url or self.broker)


def load(environ: Mapping[str, str], **overrides: Any) -> tuple[Settings, list[str]]:
    """The settings, and the JOBTIDE_EMITTER_* names that mean nothing. Raises ConfigError for a value that is wrong."""
    values: dict[str, Any] = {}
    known = {setting.name: setting for setting in fields(Settings)}
    unknown = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name in known:
            values[name] = _parsed(variable, environ[variable], type(known[name].default))
        else:
            unknown.append(variable)
    for name in overrides:
        if name not in known:
            raise ConfigError(f"configure() knows no setting {name!r}; there are: {', '.join(known)}")
    return Settings(**{**values, **overrides}), unknown


def _parsed(variable: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() in _TRUE + _FALSE:
            return text.lower() in _TRUE
        raise ConfigError(f"{variable}={text!r} is not a switch: use 1 or 0")
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ConfigError(f"{variable}={text!r} is not a whole number") from None
    return text.strip()


def _check(s: Settings) -> None:
    def need(good: bool, name: str, fix: str) -> None:
        if not good:
            shown = "…" if name in ("token", "sasl_password") else repr(getattr(s, name))
            raise ConfigError(f"{PREFIX}{name.upper()} is {shown}: {fix}")

    need(_TENANT.fullmatch(s.tenant) is not None, "tenant", "use a-z, 0-9, _ and -, at most 63 characters")
    need(1 <= len(s.environment) <= 64 and s.environment.isprintable(), "environment", "use 1 to 64 plain characters")
    need(not s.url or s.url.startswith(("http://", "https://")), "url", "it begins with http:// or https://")
    need(not (s.url and s.broker), "broker", f"set it or {PREFIX}URL, not both")
    need(bool(s.topic), "topic", "name the Kafka topic")
    need(s.client in ("auto", "confluent", "aiokafka"), "client", "use confluent, aiokafka or auto")
    need(s.error_detail in ("class", "message", "full"), "error_detail", "use class, message or full")
    need(s.error_masking in ("strict", "secrets", "off"), "error_masking", "use strict, secrets or off")
    need(
        s.security_protocol in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
        "security_protocol",
        "use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
    )
    least: tuple[tuple[str, int], ...] = (
        ("queue_events", 100), ("queue_bytes", 65_536), ("spool_bytes", 1 << 20), ("linger_ms", 0), ("flush_timeout_ms", 0),
        ("request_timeout_ms", 100), ("heartbeat_ms", 100), ("snapshot_ms", 100), ("stats_ms", 100),
    )  # fmt: skip
    for name, smallest in least:
        need(getattr(s, name) >= smallest, name, f"at least {smallest}")
