"""The shape of `/v1/why-slow`. Models only."""

from __future__ import annotations

from typing import Literal

from jobtide.query.answers import Answer, QueueKey
from pydantic import BaseModel, Field

ReasonOut = Literal[
    "unknown", "not_slow", "paused", "no_workers", "slots_held", "burst", "retry_storm", "slow_runs", "slow_dependency"
]


class CauseOut(BaseModel):
    reason: ReasonOut
    share: float = Field(description="Of the waiting (attempts x time) in the range.", examples=[0.83])
    evidence: list[str] = Field(examples=[["ExportJob of queue export held 18 of 20 slots"]])


class Pressure(BaseModel):
    """One of the limits that a bottleneck is known by."""

    name: Literal["worker_saturation", "worker_memory", "storage_ms"]
    value: float | None = Field(description="null if it cannot be known: how much memory workers may use only `worker_memory_mb` says.")
    limit: float
    over: bool


class WhySlow(Answer):
    """The verdict, and what it stands on."""

    queue: QueueKey | None = Field(description="null if the queue did nothing in or before the range.")
    verdict: ReasonOut = Field(
        description="unknown: history is stale, there is too little data, or nothing that is known explains it."
    )
    confidence: float = Field(examples=[0.9])
    evidence: list[str]
    causes: list[CauseOut] = Field(description="The largest first; what is missing from 1 is not explained.")
    pressures: list[Pressure]
