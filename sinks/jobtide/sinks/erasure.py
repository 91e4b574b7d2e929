"""Takes a job or a tenant out of what jobtide keeps: ClickHouse's rows, and a tenant's live answers in Redis. Blocks.

Every table of our database with a `tenant` column is swept, so that a table added later is not forgotten. Minute numbers
hold no job ids: they stay when one job is erased. Not reached: what Kafka keeps until its retention is over (7 days by
default, alerts 90); folding it again (`jobtide rebuild`, a second history writer) would bring it back, and so would an emitter
that still sends. A running stage 2 rewrites a tenant's live answers from memory until its windows are over (65 minutes).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import redis
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.keys import KINDS, Keys
from jobtide.streams.errors import TransientError
from jobtide.streams.settings import Settings
from redis.exceptions import RedisError

_IDENTIFIER = re.compile(r"\w+\Z", re.ASCII)
_TABLES = """
SELECT table, groupArray(name) FROM system.columns
WHERE database = currentDatabase() AND name IN ('tenant', 'job_id')
  AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree')
GROUP BY table HAVING has(groupArray(name), 'tenant') ORDER BY table"""
TIMEOUT_S = 5.0


class Erasure:
    """Over one ClickHouse and one Redis. Raises TransientError or StoreRejected; whatever was erased by then stays so: call again."""

    def __init__(self, clickhouse: ClickHouse, settings: Settings) -> None:
        self._clickhouse, self._settings = clickhouse, settings

    def job(self, tenant: str, job_id: str) -> dict[str, int]:
        """Rows that were erased, by table."""
        about = {"tenant": tenant, "job_id": job_id}
        return self._sweep(about, lambda columns: "job_id" in columns) | self._unnamed(about)

    def tenant(self, tenant: str) -> dict[str, int]:
        """Rows that were erased, by table, and live answers as `redis`."""
        erased = self._sweep({"tenant": tenant}, lambda columns: True)
        return erased | {"redis": self._forget(tenant)}

    def _sweep(self, about: Mapping[str, str], wanted: Callable[[list[str]], bool]) -> dict[str, int]:
        where = " AND ".join(f"{name} = {{{name}:String}}" for name in about)
        erased: dict[str, int] = {}
        for table, columns in self._clickhouse.rows(_TABLES):
            if not wanted(columns) or not _IDENTIFIER.match(table):
                continue
            ((count,),) = self._clickhouse.rows(f"SELECT count() FROM {table} WHERE {where}", about)
            if count:
                # Done when it returns: parts are rewritten without the rows, not only marked.
                self._clickhouse.command(f"ALTER TABLE {table} DELETE WHERE {where} SETTINGS mutations_sync = 2", about)
                erased[table] = count
        return erased

    def _unnamed(self, about: Mapping[str, str]) -> dict[str, int]:
        """Alerts that name the job as an example stay, without it."""
        if not self._clickhouse.rows("SELECT 1 FROM system.tables WHERE database = currentDatabase() AND name = 'alerts'"):
            return {}
        named = "tenant = {tenant:String} AND arrayExists(each -> each['job_id'] = {job_id:String}, examples)"
        ((count,),) = self._clickhouse.rows(f"SELECT count() FROM alerts WHERE {named}", about)
        if count:
            others = "arrayFilter(each -> each['job_id'] != {job_id:String}, examples)"
            self._clickhouse.command(f"ALTER TABLE alerts UPDATE examples = {others} WHERE {named} SETTINGS mutations_sync = 2", about)
        return {"alerts": count} if count else {}

    def _forget(self, tenant: str) -> int:
        keys = Keys(self._settings.redis_prefix)
        options: dict[str, Any] = {"ssl_ca_certs": self._settings.redis_tls_ca} if self._settings.redis_tls_ca else {}
        client = redis.Redis.from_url(self._settings.redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, **options)
        try:
            gone = sum(int(client.hlen(keys.hash(kind, tenant))) for kind in KINDS)
            client.delete(*(keys.hash(kind, tenant) for kind in KINDS))
            client.srem(keys.tenants, tenant)
            # Readers keep a copy: they read everything anew when the boot id is another.
            client.delete(keys.boot)
            return gone
        except (RedisError, OSError) as error:
            raise TransientError(f"Redis: {error}") from error
        finally:
            client.close()
