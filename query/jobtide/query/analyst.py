"""Runs analysts' SQL and exports: clients of their own, read-only, with limits, and one tenant's rows on every table where there is one.

The second wall behind `sql_guard`: what gets past the parser still meets a client that can neither write nor change its limits, and a filter on
the tenant in every table with such a column. Blocking work runs in threads of its own, so that analysts wait for each other and not for them
the dashboard; exports run in others, a few at a time. Results are whole rows as ClickHouse writes them:
JSON, CSV, Parquet, Arrow are its own formats.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from jobtide.query.readers import Unavailable
from jobtide.sinks.clickhouse.connection import connect_reader
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of every statement that is refused anyway

STORE = "ClickHouse"
THREADS = 2
MAX_WAITING = 8
EXPORT_S = 600
MAX_EXPORTS = 4
CHUNK_BYTES = 1 << 18
# That a query took too long, too much memory or too many rows is the analyst's business, not an outage.
LIMITS = {
    158: "it reads more than", 159: "it took longer than", 160: "it would take longer than", 241: "it needs more memory than",
    307: "it reads more than",
}  # fmt: skip
T = TypeVar("T")
_TENANT_TABLES = "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'tenant'"


class Failed(Exception):
    """ClickHouse would not answer this query: the message says why, for whoever wrote it."""


class Busy(Exception):
    """As many exports as there may be are under way."""


@dataclass(frozen=True, slots=True)
class Result:
    columns: list[tuple[str, str]]  # name, type
    rows: list[list[Any]]
    truncated: bool


class Analyst:
    """Create it anywhere; nothing is opened before the first query."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="analyst")
        # Two threads for each export: one may still be reading when the other closes what it reads from.
        self._export_threads = ThreadPoolExecutor(2 * MAX_EXPORTS, thread_name_prefix="export")
        self._exports = threading.BoundedSemaphore(MAX_EXPORTS)
        self._waiting = 0
        self._tables: list[str] | None = None

    async def rows(self, sql: str, tenant: str | None) -> Result:
        """The answer to guarded SQL, at most `query_max_rows` rows. Raises Failed or Unavailable."""
        return await self._run(self._rows, sql, tenant)

    async def formatted(self, sql: str, tenant: str | None, format_: str) -> bytes:
        """The same, written by ClickHouse in one of its formats."""
        return await self._run(self._formatted, sql, tenant, format_)

    async def export(self, sql: str, tenant: str | None, format_: str, parameters: Mapping[str, Any]) -> Pieces:
        """All rows of a question of ours, piece by piece; to be closed by whoever gets it. Raises Busy, Failed or Unavailable before the first
        piece; afterwards it breaks off."""
        if not self._exports.acquire(blocking=False):
            raise Busy(f"{MAX_EXPORTS} exports are under way already")
        opening = self._export_threads.submit(self._opened, sql, tenant, format_, parameters)
        try:
            return Pieces(await asyncio.wrap_future(opening), self._export_threads, self._exports.release)
        except BaseException as error:  # of a caller that has left too: then it is opened for nobody
            opening.add_done_callback(self._unwanted)
            if isinstance(error, ClickHouseError):
                raise self._said(error) from error
            raise

    def _unwanted(self, opening: Future[Any]) -> None:
        try:
            if not opening.cancelled() and opening.exception() is None:
                opening.result().close()
        finally:
            self._exports.release()

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._export_threads.shutdown(wait=True)

    async def _run(self, call: Callable[..., T], *arguments: Any) -> T:
        if self._waiting >= MAX_WAITING:
            raise Unavailable(STORE, f"{MAX_WAITING} queries of analysts are waiting for it already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)
        except ClickHouseError as error:
            raise self._said(error) from error
        finally:
            self._waiting -= 1

    def _said(self, error: ClickHouseError) -> Exception:
        code = getattr(error, "code", None)
        text = str(error).split("Stack trace")[0].removeprefix("Received ClickHouse exception, ").replace("\n", " ")[:500]
        if code in LIMITS:
            return Failed(f"{LIMITS[code]} is allowed: ask for less, or for a shorter time ({text})")
        return Failed(text) if code is not None or isinstance(error, DatabaseError) else Unavailable(STORE, text[:200])

    # -- in threads

    def _client(self, tenant: str | None, limits: Mapping[str, Any]) -> Any:
        """A client for one query: read-only, with limits it cannot change."""
        if self._tables is None:
            opened = connect_reader(self._settings, {"max_execution_time": 10}, 20)
            try:
                self._tables = sorted({str(table) for (table,) in opened.query(_TENANT_TABLES).result_rows})
            finally:
                opened.close()
        own: dict[str, Any] = dict(limits)
        if tenant is not None:
            # Views are left out: their rows come from tables. Inside of a map's text a quote is escaped twice.
            condition = "tenant = '" + _escaped(tenant) + "'"
            own["additional_table_filters"] = "{" + ", ".join(f"'{table}': '{_escaped(condition)}'" for table in self._tables) + "}"
        return connect_reader(self._settings, own, int(limits["max_execution_time"]) + 5)

    def _limits(self) -> dict[str, Any]:
        s = self._settings
        return {
            "max_execution_time": s.query_max_s, "max_memory_usage": s.query_max_memory_mb << 20, "max_result_rows": s.query_max_rows + 1,
            "result_overflow_mode": "break", "max_result_bytes": 64 << 20, "max_threads": 2, "max_subquery_depth": 20, "max_columns_to_read": 200,
            "max_ast_depth": 500, "output_format_json_quote_64bit_integers": 1,  # JavaScript would round them
        }  # fmt: skip

    def _rows(self, sql: str, tenant: str | None) -> Result:
        found = orjson.loads(self._formatted(sql, tenant, "JSONCompact"))
        rows: list[list[Any]] = found["data"]
        limit = self._settings.query_max_rows
        return Result([(c["name"], c["type"]) for c in found["meta"]], rows[:limit], len(rows) > limit)

    def _formatted(self, sql: str, tenant: str | None, format_: str) -> bytes:
        client = self._client(tenant, self._limits())
        try:
            return bytes(client.raw_query(sql, fmt=format_))
        finally:
            client.close()

    def _opened(self, sql: str, tenant: str | None, format_: str, parameters: Mapping[str, Any]) -> Any:
        limits = {"max_execution_time": EXPORT_S, "max_memory_usage": self._settings.query_max_memory_mb << 20, "max_threads": 2}
        client = self._client(tenant, limits)
        if self._settings.clickhouse_url.startswith("chdb:"):
            return _Spooled(client, sql, format_, parameters)  # the embedded engine gives no stream
        return _Streamed(client, client.raw_stream(sql, parameters=dict(parameters), fmt=format_))


class Pieces:
    """An export under way. It holds a place among the exports until its source is closed."""

    def __init__(self, source: Any, threads: ThreadPoolExecutor, release: Callable[[], None]) -> None:
        self._source, self._threads, self._release = source, threads, release
        self._closed = False

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece: bytes = await asyncio.get_running_loop().run_in_executor(self._threads, self._source.read, CHUNK_BYTES)
        if not piece:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """Waits for nothing, so that it can be called by whoever is being cancelled. Any number of times."""
        if not self._closed:
            self._closed = True
            self._threads.submit(self._close)

    def _close(self) -> None:
        try:
            self._source.close()
        except Exception:
            log.warning("an export's source could not be closed", exc_info=True)
        finally:
            self._release()


class _Streamed:
    """A stream over HTTP, and the client it belongs to."""

    def __init__(self, client: Any, stream: Any) -> None:
        self._client, self._stream = client, stream

    def read(self, size: int) -> bytes:
        return bytes(self._stream.read(size))

    def close(self) -> None:
        self._stream.close()
        self._client.close()


class _Spooled:
    """What the embedded engine has written into a file of ours, which is gone with this."""

    def __init__(self, client: Any, sql: str, format_: str, parameters: Mapping[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="jobtide-export-")
        path = Path(self._folder.name, "rows")
        try:
            client.raw_query(f"{sql} INTO OUTFILE '{path}'", parameters=dict(parameters), fmt=format_)
            self._file = path.open("rb")
        except BaseException:
            self._folder.cleanup()
            raise
        finally:
            client.close()

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        self._file.close()
        self._folder.cleanup()


def _escaped(text: str) -> str:
    """For ClickHouse's quotes."""
    return text.replace("\\", "\\\\").replace("'", "\\'")


