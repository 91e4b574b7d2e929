"""Events as new jobs that happen now, `speed` times as fast. Pure: the start and the name of the run are arguments.

Times are moved and, with every duration, divided by the speed, so a workload keeps its shape. Job ids get the run's
name, events new ids and one epoch per tenant. A run's name holds its start: the same file, speed and name give the same
events, which may be sent twice; another name gives other jobs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson
from jobtide.gateway.short import expand, is_short
from jobtide.streams.errors import ConfigError, ContractError
from jobtide.streams.events import BROADCAST, LANES, Reason, decode, key_of, lane_of, time_text, time_us

_TIMES = ("enqueued_at", "started_at", "run_at", "oldest_ready_at")
_DURATIONS = ("duration_ms", "wait_ms", "expected_ms", "interval_ms")
_IDS = ("job_id", "parent_job_id", "batch_id")
_LONGEST_ID = 200


@dataclass(frozen=True)
class Timeline:
    """Maps the file's time, beginning at `origin_us`, to the run's, beginning at `start_us`."""

    origin_us: int
    start_us: int
    speed: float

    def at(self, us: int) -> int:
        """µs since the epoch in the run."""
        return self.start_us + round((us - self.origin_us) / self.speed)

    def text(self, text: Any) -> Any:
        """The same for an RFC 3339 text; what is not a text is left to the contract to refuse."""
        return time_text(self.at(time_us(text))) if isinstance(text, str) else text


@dataclass
class Numbering:
    """One tenant's epoch in a run, and the next number of each lane."""

    epoch: str
    upcoming: list[int] = field(default_factory=lambda: [0] * LANES)

    def take(self, lane: int) -> int:
        """The next number of a lane."""
        self.upcoming[lane] += 1
        return self.upcoming[lane] - 1


@dataclass(frozen=True)
class Retimed:
    """One event to send: when, and its bytes."""

    due_us: int
    line: bytes


def tree_of(line: bytes) -> tuple[int, dict[str, Any]]:
    """(time in µs, full event) of a line. ContractError when it is neither a full nor a short event with a time."""
    try:
        tree = orjson.loads(line)
    except ValueError as error:
        raise ContractError(Reason.NOT_JSON, str(error)) from None
    if not isinstance(tree, dict):
        raise ContractError(Reason.NOT_AN_EVENT, "a line must be one JSON object")
    if is_short(tree):
        tree = expand(tree, "", "")
    if not isinstance(tree.get("time"), str) or not isinstance(tree.get("data"), dict):
        raise ContractError(Reason.MISSING_FIELD, "an event needs `time` and `data`")
    return time_us(tree["time"]), tree


def run_name(start_us: int) -> str:
    """The name of a run that starts then (to the millisecond).

    >>> run_name(1_795_000_000_123_456), start_of("1a1ee565e7b")
    ('1a1ee565e7b', 1795000000123000)
    """
    return f"{start_us // 1000:x}"


def start_of(name: str) -> int:
    """When a run started, in µs. ConfigError when it is no run's name."""
    try:
        return int(name, 16) * 1000
    except ValueError:
        raise ConfigError(f"--run {name!r} is not a run's name: give the one that was printed") from None


class Run:
    """Makes the events of one run, in order."""

    def __init__(self, name: str, timeline: Timeline) -> None:
        self.name = name
        self._timeline = timeline
        self._numbering: dict[str, Numbering] = {}

    def retime(self, number: int, at_us: int, tree: dict[str, Any]) -> Retimed | None:
        """Line `number`'s event in this run; None for what speaks of another epoch. ContractError when it is wrong."""
        if tree.get("type") == "emitter.stats.v1":
            return None
        due_us = self._timeline.at(at_us)
        data = self._moved(tree["data"])
        event = {name: tree[name] for name in tree if name not in ("epoch", "lane", "seq", "backfill")}
        event |= {"id": self._id(str(number)), "time": time_text(due_us), "data": data}
        if "job_id" in data:
            event["subject"] = str(data["job_id"])[:300]
        event["partitionkey"] = "-"
        # Decoded before it gets its key and number: what the contract refuses must not leave a hole in the sequence.
        checked = decode(orjson.dumps(event))[0]
        key = key_of(checked)
        event["partitionkey"] = tree.get("partitionkey", str(data.get("tenant"))) if key is None else key
        if checked.kind not in BROADCAST:
            event |= self._number(checked.data.tenant, event["partitionkey"])
        return Retimed(due_us, orjson.dumps(event))

    def farewell(self, at_us: int) -> list[bytes]:
        """What tells the ledger that nothing more will come: one clean emitter.stats per tenant."""
        return [orjson.dumps(self._stats(tenant, numbering, at_us)) for tenant, numbering in self._numbering.items()]

    def _number(self, tenant: str, key: str) -> dict[str, Any]:
        numbering = self._numbering.get(tenant)
        if numbering is None:
            epoch = f"replay-{self.name}-{len(self._numbering)}"
            numbering = self._numbering[tenant] = Numbering(epoch)
        lane = lane_of(key)
        return {"epoch": numbering.epoch, "lane": lane, "seq": numbering.take(lane)}

    def _moved(self, data: dict[str, Any]) -> dict[str, Any]:
        moved = dict(data)
        for name in _TIMES:
            if name in moved:
                moved[name] = self._timeline.text(moved[name])
        for name in _DURATIONS:
            if isinstance(moved.get(name), int | float):
                moved[name] = round(moved[name] / self._timeline.speed, 3)
        for name in _IDS:
            if isinstance(moved.get(name), str):
                moved[name] = self._renamed(moved[name])
        if isinstance(moved.get("running"), list):
            moved["running"] = [self._moved(job) if isinstance(job, dict) else job for job in moved["running"]]
        return moved

    def _renamed(self, name: str) -> str:
        if len(name) > _LONGEST_ID:
            name = name[:_LONGEST_ID] + hashlib.sha256(name.encode()).hexdigest()[:16]
        return f"{name}~{self.name}"

    def _id(self, what: str) -> str:
        return hashlib.sha256(f"{self.name}/{what}".encode()).hexdigest()[:32]

    def _stats(self, tenant: str, numbering: Numbering, at_us: int) -> dict[str, Any]:
        upcoming = {str(lane): seq for lane, seq in enumerate(numbering.upcoming) if seq}
        data = {
            "tenant": tenant, "next": upcoming, "emitted": sum(upcoming.values()), "dropped": 0, "spooled": 0,
            "clean": True, "epoch": numbering.epoch,
        }  # fmt: skip
        return {
            "specversion": "1.0", "type": "emitter.stats.v1", "id": self._id(f"stats/{tenant}"), "source": "/replay",
            "subject": tenant, "time": time_text(at_us), "partitionkey": tenant, "data": data,
        }  # fmt: skip
