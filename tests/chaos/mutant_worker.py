"""A worker with one guarantee taken out, to show that the fault runs would notice: `python -m tests.chaos.mutant_worker MUTANT`.

Each mutant ends itself, once SIGRTMIN has armed it, at the moment that its guarantee is for.

  split         a checkpoint is two record batches; ends between them
  outputs-last  panes are sent after the checkpoint that says they were; ends between them, if there are panes to send
  no-owners     a checkpoint record counts whoever wrote it, and nobody notices another writer; stands still inside a flush
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from jobtide.streams.agents.stage1 import Stage1
from jobtide.streams.checkpoint.log import CheckpointLog, Lost
from jobtide.streams.checkpoint.ownership import CLAIM_PREFIX, Ownership
from jobtide.streams.folds.records import Record

ARM = signal.SIGRTMIN
armed = False


def _arm(*_: object) -> None:
    global armed
    armed = True


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def split() -> None:
    submit = CheckpointLog.submit

    async def two_batches(self: CheckpointLog, partition: int, records: list[Record]) -> Callable[[], Awaitable[None]]:
        half = len(records) // 2
        if half:
            await (await submit(self, partition, records[:half]))()
            if armed:
                _end()
        return await submit(self, partition, records[half:])

    CheckpointLog.submit = two_batches  # type: ignore[method-assign]


def outputs_last() -> None:
    flush, publish = Stage1._flush, Stage1._publish
    put_off: list[Any] = []
    flushing = False

    async def publish_later(self: Stage1, outputs: Any) -> None:
        if flushing:
            put_off.append(outputs)
        else:
            await publish(self, outputs)

    async def flush_first(self: Stage1) -> None:
        nonlocal flushing
        flushing = True
        await flush(self)
        flushing = False
        records = [record for outputs in put_off for batch in outputs[0] for record in batch]
        if armed and any(key.startswith(b"p\x1f") for key, _ in records):
            _end()
        while put_off:
            await publish(self, put_off.pop(0))

    Stage1._publish, Stage1._flush = publish_later, flush_first  # type: ignore[method-assign]


def no_owners() -> None:
    def everybody_counts(self: Ownership, key: bytes, owner: bytes) -> bool:
        return not key.startswith(CLAIM_PREFIX)

    submit = CheckpointLog.submit

    async def unchecked(self: CheckpointLog, partition: int, records: list[Record]) -> Callable[[], Awaitable[None]]:
        durable = await submit(self, partition, records)

        async def ignoring() -> None:
            try:
                await durable()
            except Lost:
                return

        return ignoring

    def point(self: Stage1, name: str) -> None:
        global armed
        if armed and name == "published":
            armed = False
            os.kill(os.getpid(), signal.SIGSTOP)

    Ownership.counts = everybody_counts  # type: ignore[method-assign]
    CheckpointLog.submit = unchecked  # type: ignore[method-assign]
    Stage1.point = point  # type: ignore[method-assign]


MUTANTS = {"split": split, "outputs-last": outputs_last, "no-owners": no_owners}

if __name__ == "__main__":
    from jobtide.cli.main import main

    MUTANTS[sys.argv[1]]()
    signal.signal(ARM, _arm)
    sys.argv[1:] = ["worker"]
    main()
