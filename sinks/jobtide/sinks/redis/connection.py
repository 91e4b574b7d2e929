"""A client for the Redis or Valkey of the settings, with its TLS. Nothing is asked here."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

TIMEOUT_S = 5.0


def connect(settings: Settings, timeout_s: float = TIMEOUT_S) -> Any:
    """A client that connects on first use and repeats nothing by itself: the caller does, and knows for how long.

    ConfigError for a file of authorities that is not there.
    """
    options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": Retry(NoBackoff(), 0)}
    if settings.redis_tls_ca:
        if urlsplit(settings.redis_url).scheme != "rediss":
            raise ConfigError("JOBTIDE_REDIS_TLS_CA is set, but JOBTIDE_REDIS_URL does not start with rediss://")
        if not Path(settings.redis_tls_ca).is_file():
            raise ConfigError(f"JOBTIDE_REDIS_TLS_CA: there is no file {settings.redis_tls_ca}")
        options["ssl_ca_certs"] = settings.redis_tls_ca
    return redis.asyncio.Redis.from_url(settings.redis_url, **options)
