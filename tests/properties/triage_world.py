"""One source partition and stage 2 behind it, fed with events at chosen times: what is stuck, as a user would see it.

No Kafka and no clock; `pass_time` is the silence in which only watermarks move. Both stages can be killed at any moment.
"""

from __future__ import annotations

from typing import Any

from jobtide.streams.events import time_text
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.records import Record
from jobtide.streams.folds.saving import Restorer, save
from jobtide.streams.folds.source import SourceFold
from jobtide.streams.snapshots import StuckAttempt
from jobtide.streams.windows import WindowFold

from tests.proof.job_events import SECOND, START_US, job_event, value_of


class World:
    """`now_us` is the time of the next thing that happens."""

    def __init__(self) -> None:
        self.now_us = START_US
        self.events: list[tuple[int, bytes]] = []  # job.events: (append time, value)
        self.panes: list[Record] = []  # job.panes
        self.checkpoint: list[Record] = []
        self.baselines: dict[bytes, bytes | None] = {}
        self._start_stage1()
        self._start_stage2()

    # -- what happens

    def say(self, kind: str, job_id: str = "job-1", at_us: int | None = None, **data: Any) -> None:
        """An event of a job."""
        self._append(job_event(kind, self.now_us if at_us is None else at_us, job_id=job_id, **data))

    def beat(self, worker_id: str = "w-1", *job_ids: str, kind: str = "heartbeat", complete: bool = True, **data: Any) -> None:
        """An event of a worker that holds these jobs of the queue `mail`."""
        at_us = self.now_us
        event = job_event("enqueued", at_us, event_id=f"{kind}-{worker_id}-{at_us}-{len(self.events)}".ljust(16, "-"))
        running = [{"queue": "mail", "job_id": job_id, "attempt": 1, "started_at": time_text(START_US)} for job_id in job_ids]
        members = {"tenant": "acme", "system": "celery", "worker_id": worker_id, "interval_ms": 10_000, "complete": complete, "running": running}
        self._append(event | {"type": f"worker.{kind}.v1", "data": members | data})

    def run(self, job_id: str, seconds: float, outcome: str = "finished", **data: Any) -> None:
        """An attempt from enqueue to end, nothing else happening meanwhile but time in steps of at most a minute."""
        self.say("enqueued", job_id, **data)
        self.say("started", job_id, **data)
        self.pass_time(seconds, step_s=60)
        self.say(outcome, job_id, **data)
        self.pass_time(3)

    def _append(self, event: dict[str, Any]) -> None:
        value = value_of(event)
        self.fold.fold([len(self.events)], [self.now_us], [value])
        self.events.append((self.now_us, value))

    def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        """Silence: the watermark follows the clock, as it does at the end of the log."""
        end_us = self.now_us + round(seconds * SECOND)
        while self.now_us < end_us:
            self.now_us = min(end_us, self.now_us + round(step_s * SECOND))
            self.fold.caught_up(self.now_us)
            self.publish()

    def leap(self, seconds: float) -> None:
        """Nobody was there for so long."""
        self.now_us += round(seconds * SECOND)

    def publish(self) -> None:
        (records,) = self.publisher.collect("idle")
        first = len(self.panes)
        self.panes += records
        self._read(records, first)
        self.checkpoint += save(self.fold)

    def _read(self, records: list[Record], first: int) -> None:
        self.windows.fold([key for key, _ in records], [value for _, value in records], range(first, first + len(records)))
        self.baselines.update(self.windows.triage.baselines.take_unsaved())

    # -- crashes

    def restart_stage1(self) -> None:
        """A new owner goes on from the checkpoint and reads what came after it again."""
        self._start_stage1()
        version = self.fold.version
        for offset, (append_us, value) in enumerate(self.events):
            if offset > version:
                self.fold.fold([offset], [append_us], [value])

    def _start_stage1(self) -> None:
        self.fold = SourceFold(0, 1)
        restorer = Restorer(self.fold)
        for key, value in self.checkpoint:
            restorer.load(key, value)
        restorer.finish()
        self.publisher = Publisher(self.fold)

    def restart_stage2(self, batch: int = 1_000_000, last: int | None = None) -> None:
        """A new owner loads the baselines and reads the last records of job.panes again."""
        self._start_stage2()
        for series, value in self.baselines.items():
            self.windows.triage.baselines.load(series, value)
        start = 0 if last is None else max(0, len(self.panes) - last)
        for at in range(start, len(self.panes), batch):
            self._read(self.panes[at : at + batch], at)

    def _start_stage2(self) -> None:
        self.windows = WindowFold(0)

    # -- what is seen

    @property
    def stuck(self) -> dict[str, StuckAttempt]:
        return {attempt.job_id: attempt for _, attempts in self.windows.triage.stuck() for attempt in attempts}

    @property
    def verdicts(self) -> dict[str, str]:
        return {job_id: attempt.verdict for job_id, attempt in self.stuck.items()}
