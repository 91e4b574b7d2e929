"""Who did what: one record for every change, every question in SQL, every export, and every refusal. Appended, never changed.

Each record is a log line of `jobtide.audit` as well, so that it exists where there is no ClickHouse (the gateway) or
while that is away. Not the events of jobs, and not what was answered. No token ever comes here: only a key's id and name.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from jobtide.sinks.inserts import Row, insert
from jobtide.streams.errors import ConfigError, StoreRejected, TransientError

log = logging.getLogger("jobtide.audit")

TABLE = "audit_log"
COLUMNS = ("at", "caller", "key_id", "role", "address", "method", "path", "query", "status", "outcome", "detail")
MAX_WAITING = 10_000
BATCH = 500
RETRY_S = 2.0
MAX_CHARS = 2000

Write = Callable[[Any], None]  # inserts, blocking


class Record(msgspec.Struct, frozen=True):
    """One thing that somebody did or was refused."""

    at_us: int
    caller: str
    key_id: str
    role: str
    address: str
    method: str
    path: str
    query: str
    status: int
    outcome: str
    detail: str = ""  # the text of a question in SQL, as `redaction` lets it be kept

    def row(self) -> Row:
        texts = [text[:MAX_CHARS] for text in (self.caller, self.key_id, self.role, self.address, self.method, self.path, self.query)]
        return (self.at_us, *texts, self.status, self.outcome[:MAX_CHARS], self.detail[:MAX_CHARS])


class Trail:
    """Takes records at any time; `run` writes them until cancelled. Without a `write` they are log lines only."""

    def __init__(self, write: Write | None = None) -> None:
        self.lost = 0
        self._write = write
        self._waiting: deque[Record] = deque()
        self._wake = asyncio.Event()

    def note(self, record: Record) -> None:
        """Never blocks. The oldest record gives way when ClickHouse was away for too long; its log line stays."""
        log.info("audit", extra={name: getattr(record, name) for name in record.__struct_fields__})
        if self._write is None:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(record)
        self._wake.set()

    async def note_now(self, record: Record) -> None:
        """The same, but it is stored when this returns: for what must not happen unrecorded. Raises TransientError, StoreRejected."""
        log.info("audit", extra={name: getattr(record, name) for name in record.__struct_fields__})
        if self._write is not None:
            await asyncio.to_thread(self._write, _inserted([record]))

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write what waits; while ClickHouse is away, try again."""
        while self._waiting and self._write is not None:
            batch = [self._waiting[n] for n in range(min(BATCH, len(self._waiting)))]
            try:
                await asyncio.to_thread(self._write, _inserted(batch))
            except (TransientError, StoreRejected, ConfigError) as error:
                logging.getLogger(__name__).warning("the audit log waits for ClickHouse", extra={"reason": str(error)[:300]})
                await asyncio.sleep(RETRY_S)
                continue
            for record in batch:
                if self._waiting and self._waiting[0] is record:  # else it gave way meanwhile
                    self._waiting.popleft()


def _inserted(records: list[Record]) -> Any:
    return insert(TABLE, COLUMNS, [value for record in records for value in record.row()])
