"""ClickHouse for asynchronous callers: a few threads of its own, each with its own client, and one error for "not now".

Not the questions (`sql/`), not what rows mean (`history_rows`). The client blocks, so it never runs on the event
loop; the threads are ours rather than anyio's because a client belongs to its thread and must outlive idle times.
More than a few at once make nothing faster: one query uses all cores.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from jobtide.query.questions import ALL_COUNTED, Counted, question
from jobtide.query.readers import Unavailable
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.streams.errors import ConfigError, StoreRejected, TransientError
from jobtide.streams.settings import Settings

log = logging.getLogger(__name__)

STORE = "ClickHouse"
THREADS = 4
MAX_WAITING = 64  # beyond it an answer would come too late to be of use
TIMEOUT_S = 35  # a little more than max_execution_time of the questions

Row = tuple[Any, ...]
Flight = tuple[str, Counted, bytes]  # question, what is summed, parameters


class Engine:
    """Create it anywhere; nothing is opened before the first question."""

    def __init__(self, settings: Settings) -> None:
        self._clickhouse = ClickHouse(settings, timeout_s=TIMEOUT_S)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="history")
        self._flights: dict[Flight, asyncio.Future[list[Row]]] = {}

    async def ask(self, name: str, parameters: Mapping[str, Any], counted: Counted = ALL_COUNTED) -> list[Row]:
        """The rows that answer `sql/<name>.sql` (see `questions`). Who asks the same while it is being answered gets the same
        answer. Raises Unavailable while ClickHouse cannot, or has too much to do."""
        key = (name, counted, orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS))
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= MAX_WAITING:
                raise Unavailable(STORE, f"{MAX_WAITING} questions are waiting for it already")
            flight = self._flights[key] = asyncio.ensure_future(self._ask(name, question(name, counted), dict(parameters)))
            flight.add_done_callback(lambda done: self._landed(key, done))
        # Shielded: one caller that goes away must not take the answer from the others.
        return list(await asyncio.shield(flight))

    def _landed(self, key: Flight, done: asyncio.Future[list[Row]]) -> None:
        del self._flights[key]
        if not done.cancelled():
            done.exception()  # looked at, also when every caller has gone away

    async def _ask(self, name: str, sql: str, parameters: dict[str, Any]) -> list[Row]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._clickhouse.rows, sql, parameters)
        except (TransientError, ConfigError) as error:
            raise Unavailable(STORE, _sentence(error)) from error
        except StoreRejected as error:
            # Before the history writer has made the tables this is a matter of time; afterwards it is a fault of ours.
            log.warning("ClickHouse refused a question", extra={"question": name, "reason": str(error)})
            raise Unavailable(STORE, _sentence(error)) from error

    def close(self) -> None:
        """Blocks until the running questions have ended."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._clickhouse.close()


def _sentence(error: Exception) -> str:
    """What it said, without its name in front and short enough for an answer."""
    return str(error).removeprefix(f"{STORE}: ").split("\n")[0][:200]
