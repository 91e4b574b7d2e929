"""Brings the history's schema up to date: the numbered files of `sinks/migrations`, each once, in order, never changed afterwards.

Not data and not queries. How long rows are kept is a setting, not a migration: `apply_retention` alters the tables when it changed.
A crash between a statement and its record is harmless, because every statement may run twice.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.inserts import insert
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{4})_\w+\.sql\Z")
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
  version UInt32, name String, checksum String, applied_at DateTime('UTC') DEFAULT now()
) ENGINE = ReplacingMergeTree(applied_at) ORDER BY version"""

# Rows are kept for so many days after the later of what happened and when it came in: a backfill of old data survives.
_KEPT_FROM = {
    "job_events": "greatest(toDateTime(time), toDateTime(ingested_at))",
    "job_executions": "greatest(toDateTime(last_at), ingested_at)",
    "execution_lists": "greatest(toDateTime(last_at), ingested_at)",
    "failures": "greatest(toDateTime(at), ingested_at)",
    "deploys": "greatest(toDateTime(time), toDateTime(ingested_at))",
    "queue_states": "greatest(toDateTime(time), toDateTime(ingested_at))",
    "alerts": "greatest(toDateTime(at), toDateTime(ingested_at))",
    "rollup_1m": "greatest(minute, toDateTime(intDiv(version, 1000000)))",
    "rollup_1h": "greatest(hour, toDateTime(intDiv(version, 1000000)))",
    "worker_snapshots": "greatest(toDateTime(time), toDateTime(ingested_at))",
    "audit_log": "toDateTime(at)",
}


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self) -> Iterator[str]:
        """The SQL statements; each ends with `;` at the end of a line."""
        lines = [line for line in self.text.splitlines() if not line.lstrip().startswith("--")]
        for statement in re.split(r";[ \t]*(?:\n|\Z)", "\n".join(lines)):
            if statement.strip():
                yield statement.strip()


def shipped() -> list[Migration]:
    """The migrations of this version of jobtide, in order."""
    folder = resources.files("jobtide.sinks").joinpath("migrations")
    found = [(m, f) for f in folder.iterdir() if (m := _NAME.fullmatch(f.name))]
    return sorted((Migration(int(m[1]), f.name, f.read_text("utf-8")) for m, f in found), key=lambda m: m.version)


def prepare(settings: Settings) -> None:
    """Make the database, bring it to this version's schema and set the retention.

    Raises ConfigError if the database was made by a newer or by an altered version, TransientError if ClickHouse is away.
    """
    server = ClickHouse(settings, database="")
    try:
        server.command(f"CREATE DATABASE IF NOT EXISTS {_quoted(settings.clickhouse_database)}")
    finally:
        server.close()
    db = ClickHouse(settings)
    try:
        migrate(db, shipped())
        apply_retention(db, settings)
    finally:
        db.close()


def migrate(db: ClickHouse, migrations: list[Migration]) -> list[Migration]:
    """Apply what is missing, in order; the ones applied now. Raises ConfigError as `prepare`."""
    db.command(_LEDGER)
    applied = {int(version): str(checksum) for version, checksum in db.rows("SELECT version, checksum FROM schema_migrations FINAL")}
    _refuse_strangers(db.database, migrations, applied)
    missing = [m for m in migrations if m.version not in applied]
    for migration in missing:
        for statement in migration.statements():
            db.command(statement)
        record = (migration.version, migration.name, migration.checksum)
        db.insert(insert("schema_migrations", ("version", "name", "checksum"), [*record], token=f"migration:{record}"))
        log.info("migrated history", extra={"migration": migration.name})
    return missing


def _refuse_strangers(database: str, migrations: list[Migration], applied: dict[int, str]) -> None:
    known = {m.version: m for m in migrations}
    newer = sorted(applied.keys() - known.keys())
    if newer:
        raise ConfigError(
            f"JOBTIDE_CLICKHOUSE_DATABASE: {database!r} was made by a newer jobtide (migration {newer[-1]:04d}). Update jobtide or name"
            " another database."
        )
    for version, checksum in sorted(applied.items()):
        if known[version].checksum != checksum:
            raise ConfigError(
                f"JOBTIDE_CLICKHOUSE_DATABASE: migration {known[version].name} is not the file that was applied to {database!r}. A"
                " migration never changes: restore the file and put the change in a new one."
            )


def apply_retention(db: ClickHouse, settings: Settings) -> None:
    """Set each table's time to live; tables that already have it are left alone (altering rewrites parts)."""
    days = {
        "job_events": settings.retention_events_days,
        "job_executions": settings.retention_executions_days,
        "execution_lists": settings.retention_executions_days,
        "failures": settings.retention_executions_days,
        "deploys": settings.retention_rollups_days,  # they explain the numbers, as long as there are any
        "queue_states": settings.retention_queues_days,
        "alerts": settings.retention_alerts_days,
        "rollup_1m": settings.retention_rollups_days,
        "rollup_1h": settings.retention_rollups_days,
        "worker_snapshots": settings.retention_workers_days,
        "audit_log": settings.retention_audit_days,
    }
    engines: dict[str, str] = dict(db.rows("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()"))
    for table, kept_from in _KEPT_FROM.items():
        if f"+ toIntervalDay({days[table]})" not in engines[table]:
            db.command(f"ALTER TABLE {table} MODIFY TTL {kept_from} + toIntervalDay({days[table]})")


def _quoted(identifier: str) -> str:
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"
