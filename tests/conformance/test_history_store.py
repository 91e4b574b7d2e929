"""Migrations, connection and inserts on both engines, and what a cut connection does to an insert over HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from jobtide.sinks import batch, executions
from jobtide.sinks.batch import Record
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.clickhouse.history_store import HistoryStore
from jobtide.sinks.clickhouse.migrate import Migration, apply_retention, migrate, prepare, shipped
from jobtide.sinks.inserts import Insert
from jobtide.sinks.known import hash_of
from jobtide.streams.errors import ConfigError, StoreRejected, TransientError
from jobtide.streams.settings import Settings

from tests.proof.job_events import START_US, job_event, value_of


@pytest.fixture
def db(history_settings: Settings) -> Iterator[ClickHouse]:
    prepare(history_settings)
    connection = ClickHouse(history_settings)
    yield connection
    connection.close()


def batch_of(count: int) -> tuple[batch.Batch, list[Insert]]:
    events = [job_event("finished", START_US + n, job_id=f"job-{n}", event_id=f"event-{n:012d}", duration_ms=1) for n in range(count)]
    prepared = batch.prepare([Record(0, n, START_US + n, value_of(event)) for n, event in enumerate(events)], 1)
    return prepared, prepared.inserts(list(prepared.attempts[0].items()))


def test_migrations_run_once_and_every_statement_may_run_twice(db: ClickHouse) -> None:
    assert migrate(db, shipped()) == []
    db.command("TRUNCATE TABLE schema_migrations")  # as if killed before the record
    assert migrate(db, shipped()) == shipped()
    assert [v for (v,) in db.rows("SELECT version FROM schema_migrations FINAL ORDER BY version")] == [m.version for m in shipped()]


def test_a_changed_or_a_newer_migration_is_refused(db: ClickHouse) -> None:
    first, *others = shipped()
    with pytest.raises(ConfigError, match=first.name):
        migrate(db, [replace(first, text=first.text + "\n-- changed"), *others])
    migrate(db, [*shipped(), Migration(9999, "9999_later.sql", "SELECT 1;")])
    with pytest.raises(ConfigError, match="newer jobtide"):
        migrate(db, shipped())


def test_retention_is_altered_only_when_it_changes(db: ClickHouse, history_settings: Settings) -> None:
    ttl = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'job_events'"
    assert "toIntervalDay(90)" in db.rows(ttl)[0][0]
    apply_retention(db, replace(history_settings, retention_events_days=9))
    assert "toIntervalDay(9)" in db.rows(ttl)[0][0]


def test_the_same_batch_again_leaves_one_row_per_event(db: ClickHouse) -> None:
    _, inserts = batch_of(50)
    for _ in range(3):
        HistoryStore(db).write({}, inserts)
    assert db.rows("SELECT count() FROM job_events") == [(50,)], "a repeated block is dropped before it is stored"
    assert db.rows("SELECT count(), countIf(state = 'finished') FROM executions") == [(50, 50)]


def test_what_was_written_is_known_and_read_back(db: ClickHouse) -> None:
    prepared, inserts = batch_of(200)
    store = HistoryStore(db)
    store.write({}, inserts)
    known, keys = store.known(), list(prepared.attempts[0])
    assert all(hash_of(key) in known for key in keys)
    assert sum(hash_of((*key[:4], "stranger-" + key[4], 1)) in known for key in keys) < 10
    found = store.executions(keys)
    assert {key: executions.outcome_of(e)[:3] for key, e in found.items()} == {
        key: executions.outcome_of(e)[:3] for key, e in prepared.attempts[0].items()
    }


def test_a_failed_query_leaves_nothing_for_the_next_one(db: ClickHouse) -> None:
    """The embedded engine gives a failed query's rows to the next query of the same client: the client must be replaced."""
    with pytest.raises(TransientError):
        db.rows("SELECT number, throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_block_size = 1000")
    assert db.rows("SELECT 1") == [(1,)]


def test_a_refusal_is_told_from_an_outage(db: ClickHouse, history_settings: Settings) -> None:
    with pytest.raises(StoreRejected, match="nothing_here"):
        db.rows("SELECT * FROM nothing_here")
    away = ClickHouse(replace(history_settings, clickhouse_url="http://127.0.0.1:9"))
    with pytest.raises(TransientError):
        away.rows("SELECT 1")


class CutReplies:
    """A TCP proxy in a thread: requests reach the server, but while `cutting` no reply comes back."""

    def __init__(self, port: int) -> None:
        self._target, self.cutting, self.cut, self.port = port, False, 0, 0
        self._loop, ready = asyncio.new_event_loop(), threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        assert ready.wait(10)

    def _run(self, ready: threading.Event) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = await asyncio.open_connection("127.0.0.1", self._target)
        sending = asyncio.ensure_future(self._pump(reader, outside))
        while data := await inside.read(65_536):
            if self.cutting:  # the server has done its work, and nobody hears of it
                self.cut += 1
                break
            writer.write(data)
            await writer.drain()
        sending.cancel()
        for end in (writer, outside):
            end.close()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@pytest.mark.parametrize("clickhouse_url", ["server"], indirect=True)
def test_an_insert_cut_before_its_reply_is_written_once(db: ClickHouse, history_settings: Settings) -> None:
    proxy = CutReplies(int(history_settings.clickhouse_url.rpartition(":")[2]))
    behind = ClickHouse(replace(history_settings, clickhouse_url=f"http://127.0.0.1:{proxy.port}"))
    _, inserts = batch_of(50)
    assert behind.rows("SELECT 1") == [(1,)]
    proxy.cutting = True
    for insert in inserts:
        with pytest.raises(TransientError):
            behind.insert(insert)
    assert proxy.cut >= len(inserts)
    proxy.cutting = False
    HistoryStore(behind).write({}, inserts)  # what the writer does: the whole batch again
    behind.close()
    proxy.stop()
    assert db.rows("SELECT count() FROM job_events") == [(50,)]
    assert db.rows("SELECT count(), countIf(state = 'finished') FROM executions") == [(50, 50)]
