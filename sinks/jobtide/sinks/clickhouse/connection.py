"""One ClickHouse, embedded (`chdb:///directory`) or a server (`http(s)://host:port`), behind four calls.

Not a query builder and no schema. Every thread gets a client of its own, and a client that raised is thrown away: after a query that
fails once output has begun, the embedded engine gives the failed query's rows to the next one. Errors come out as what the caller has to
do: TransientError (wait, try again) or StoreRejected (stop).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError
from jobtide.sinks.inserts import Insert, Row
from jobtide.streams.errors import ConfigError, StoreRejected, TransientError
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

# ClickHouse error codes that say the statement, the schema or the permission is wrong: waiting cannot help. All others (memory, too
# many parts, timeouts, read-only replicas, network) may pass.
REJECTIONS = {
    16: "NO_SUCH_COLUMN_IN_TABLE", 27: "CANNOT_PARSE_INPUT", 36: "BAD_ARGUMENTS", 42: "NUMBER_OF_ARGUMENTS", 43: "ILLEGAL_TYPE_OF_ARGUMENT",
    46: "UNKNOWN_FUNCTION", 47: "UNKNOWN_IDENTIFIER", 53: "TYPE_MISMATCH", 57: "TABLE_ALREADY_EXISTS", 60: "UNKNOWN_TABLE",
    62: "SYNTAX_ERROR", 81: "UNKNOWN_DATABASE", 115: "UNKNOWN_SETTING", 164: "READONLY", 192: "UNKNOWN_USER", 193: "WRONG_PASSWORD",
    194: "REQUIRED_PASSWORD", 215: "NOT_AN_AGGREGATE", 386: "NO_COMMON_TYPE", 497: "ACCESS_DENIED", 516: "AUTHENTICATION_FAILED",
}  # fmt: skip

# 26.x inserts asynchronously by default, without deduplication: an acknowledged batch must be in its table. One batch may hold a
# backfill of many years, so the number of monthly partitions in an insert is not limited.
WRITER_SETTINGS: Mapping[str, Any] = {
    "async_insert": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_partitions_per_insert_block": 0,
    "max_query_size": 16 << 20,  # lookups and recomputations name thousands of jobs or minutes
}


class ClickHouse:
    """See the module. All calls block: use them from threads."""

    def __init__(self, settings: Settings, database: str | None = None, timeout_s: int = 120) -> None:
        """`database` replaces the one of the settings ("" = the server's default, before ours exists)."""
        self.database = settings.clickhouse_database if database is None else database
        self._settings = settings
        self._timeout_s = timeout_s
        self._local = threading.local()
        self._clients: list[Any] = []
        self._lock = threading.Lock()
        self._closed = False

    def rows(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Row]:
        """All rows of a SELECT; times are aware datetimes in UTC."""
        return self._run(lambda client: list(client.query(sql, parameters=parameters).result_rows))

    def columns(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[Sequence[Any]]:
        """The same column by column, DateTime64 as integers; [] for no rows."""
        formats = {"DateTime64": "int"}
        return self._run(lambda client: list(client.query(sql, parameters=parameters, query_formats=formats, column_oriented=True).result_columns))

    def binary(self, sql: str, parameters: Mapping[str, Any] | None = None) -> bytes:
        """The result as RowBinary: the values one after the other, for what Python should not look at one by one."""
        return self._run(lambda client: bytes(client.raw_query(sql, parameters=parameters, fmt="RowBinary")))

    def command(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        """A statement without a result: DDL, INSERT … SELECT."""
        self._run(lambda client: client.command(sql, parameters=parameters))

    def insert(self, insert: Insert) -> None:
        """Write the rows; they are in their table when this returns."""
        if not insert.rows:
            return
        settings = {"insert_deduplication_token": insert.token} if insert.token else None
        columns = list(insert.columns)
        self._run(lambda client: client.raw_insert(insert.table, columns, insert.packed, settings, "MsgPack"))

    def close(self) -> None:
        """Close the clients of all threads. The embedded engine gives its directory free with the last one."""
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    def _run(self, call: Callable[[Any], T]) -> T:
        client = getattr(self._local, "client", None)
        try:
            if client is None:
                client = self._open()
            return call(client)
        except Exception as error:
            self._drop(client)
            if isinstance(error, ClickHouseError):
                raise _translated(error) from error
            raise

    def _open(self) -> Any:
        client = connect(self._settings, self.database, self._timeout_s)
        with self._lock:
            if self._closed:
                client.close()
                raise TransientError("the connection to ClickHouse was closed")
            self._clients.append(client)
        self._local.client = client
        return client

    def _drop(self, client: Any) -> None:
        self._local.client = None
        if client is None:
            return
        with self._lock:
            if client in self._clients:
                self._clients.remove(client)
        try:
            client.close()
        except Exception as error:  # the original error is the one that matters
            log.debug("closing a broken ClickHouse client failed", extra={"reason": str(error)[:200]})


def connect(settings: Settings, database: str, timeout_s: int, own: Mapping[str, Any] = WRITER_SETTINGS) -> Any:
    """A new client for the ClickHouse of the settings, with `own` settings of ClickHouse's. Raises ConfigError for an embedded directory
    that cannot be opened."""
    url = urlsplit(settings.clickhouse_url)
    options: dict[str, Any] = {"database": database or None, "tz_mode": "aware", "settings": dict(own)}
    if url.scheme == "chdb":
        try:
            return clickhouse_connect.get_client(interface="chdb", path=url.path, **options)
        except ClickHouseError as error:
            if "Unable to open" in str(error):
                raise ConfigError(
                    f"JOBTIDE_CLICKHOUSE_URL: the embedded engine cannot open {url.path!r}: another process uses it or it is not"
                    " writable. Stop that process or name another directory."
                ) from None
            raise
        except ImportError:
            raise ConfigError("JOBTIDE_CLICKHOUSE_URL: chdb:// needs the embedded engine: pip install 'jobtide[embedded]'.") from None
    return clickhouse_connect.get_client(
        interface=url.scheme,
        host=url.hostname or "127.0.0.1",
        port=url.port or (8443 if url.scheme == "https" else 8123),
        username=settings.clickhouse_user,
        password=settings.clickhouse_password,
        ca_cert=settings.clickhouse_tls_ca or None,
        connect_timeout=5,
        send_receive_timeout=timeout_s,
        autogenerate_session_id=False,  # threads and retries must not queue up behind one server session
        **options,
    )


def connect_reader(settings: Settings, limits: Mapping[str, Any], timeout_s: int) -> Any:
    """A new client that can only read, under limits it cannot change: `readonly` is set last. Raises as `connect`."""
    user = settings.clickhouse_reader_user
    as_reader = replace(settings, clickhouse_user=user, clickhouse_password=settings.clickhouse_reader_password) if user else settings
    return connect(as_reader, settings.clickhouse_database, timeout_s, {**limits, "readonly": 1})


def _translated(error: ClickHouseError) -> Exception:
    code = getattr(error, "code", None)
    text = str(error).split("Stack trace")[0][:500]
    if code in REJECTIONS or isinstance(error, DataError):
        return StoreRejected(f"ClickHouse refused: {text}")
    return TransientError(f"ClickHouse: {text}")
