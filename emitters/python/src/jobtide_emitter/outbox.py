"""Transactional outbox for SQLAlchemy: the event commits with the business row, or neither does.

In a transaction `outbox.job_enqueued(session, job)` writes the event into a table; a `Relay`, in any process or in several,
emits what has been committed and deletes it once it is acknowledged or spooled. A crash in between emits it again: the
same transition of the same attempt, which the stream counts once.
"""

from __future__ import annotations

import threading
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from jobtide_emitter.guard import guarded, log
from jobtide_emitter.jobs import Job
from jobtide_emitter.moments import now_us, text_of
from jobtide_emitter.process import emitter
from jobtide_emitter.ring import Rank

BATCH = 500
_FLUSH_MS = 10_000


class Outbox:
    """Writes events into its table, in the caller's transaction. No method raises, or spoils that transaction."""

    def __init__(self, metadata: sa.MetaData | None = None, name: str = "jobtide_outbox") -> None:
        number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
        self.table = sa.Table(
            name,
            sa.MetaData() if metadata is None else metadata,
            sa.Column("id", number, primary_key=True, autoincrement=True),
            sa.Column("at_us", sa.BigInteger, nullable=False),
            sa.Column("kind", sa.String(64), nullable=False),
            sa.Column("partitionkey", sa.Text, nullable=False),
            sa.Column("data", sa.LargeBinary, nullable=False),
        )

    def create(self, engine: Engine) -> None:
        """Makes the table if it is not there. Migrations may do it instead: the table is in the given metadata."""
        self.table.create(engine, checkfirst=True)

    def job_enqueued(self, session: Any, job: Job, *, run_at_us: int | None = None) -> None:
        """The attempt waits for a worker from now on, if the transaction commits. `session`: a Session or Connection."""
        data = job.facts if run_at_us is None else {**job.facts, "run_at": text_of(run_at_us)}
        self.write(session, "job.enqueued.v1" if run_at_us is None else "job.scheduled.v1", job.key, data)

    def job_cancelled(self, session: Any, job: Job, reason: str) -> None:
        """Somebody takes the attempt back, if the transaction commits."""
        self.write(session, "job.cancelled.v1", job.key, {**job.facts, "reason": reason})

    def write(self, session: Any, kind: str, partitionkey: str, data: dict[str, Any]) -> None:
        """Any event of the contract."""
        _write(self, session, kind, partitionkey, data)

    def insert(self, session: Any, kind: str, partitionkey: str, data: dict[str, Any]) -> None:
        """One row. Through the connection and not the session: nothing of the app's is flushed in here."""
        connection: Connection = session if isinstance(session, Connection) else session.connection()
        row = {"at_us": now_us(), "kind": kind, "partitionkey": partitionkey, "data": orjson.dumps(data)}
        statement = self.table.insert().values(row)
        if connection.dialect.name == "sqlite":  # a failed statement spoils nothing there, and a savepoint could commit
            connection.execute(statement)
            return
        with connection.begin_nested():
            connection.execute(statement)


class Relay:
    """Emits what an outbox holds. `run_once` by hand, or `start` for a thread that does it every `pause_s`."""

    def __init__(self, outbox: Outbox, engine: Engine, pause_s: float = 1.0) -> None:
        self._outbox = outbox
        self._engine = engine
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins the thread."""
        self._thread = threading.Thread(target=self._run, name="jobtide-outbox", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends the thread after the batch it is at."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def run_once(self) -> int:
        """Emits one batch; returns how many events are gone from the table. Waits for the receiver."""
        table = self._outbox.table
        query = sa.select(table).order_by(table.c.id).limit(BATCH).with_for_update(skip_locked=True)
        with self._engine.begin() as connection:
            rows = connection.execute(query).all()
            for row in rows:
                _emit(row)
            if not rows or not emitter().enabled or not emitter().flush(_FLUSH_MS):
                return 0
            connection.execute(table.delete().where(table.c.id.in_([row.id for row in rows])))
        return len(rows)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                gone = self.run_once()
            except sa.exc.SQLAlchemyError as error:
                log.warning("jobtide: the outbox cannot be read: %s", type(error).__name__)
                gone = 0
            if gone < BATCH:
                self._stop.wait(self._pause_s)


def _emit(row: Any) -> None:
    data = orjson.loads(row.data)
    if row.kind.startswith("job."):
        rank = Rank.END if row.kind.startswith("job.cancelled") else Rank.STEP
        emitter().put(Job(data, row.partitionkey), row.kind, rank, data, row.at_us)
    else:
        emitter().emit(row.kind, data, partitionkey=row.partitionkey, at_us=row.at_us)


@guarded("outbox.write")
def _write(outbox: Outbox, session: Any, kind: str, partitionkey: str, data: dict[str, Any]) -> None:
    if emitter().enabled:
        outbox.insert(session, kind, partitionkey, data)
