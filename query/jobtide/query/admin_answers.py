"""The shape of answers under `/v1/admin`. Models only."""

from __future__ import annotations

from pydantic import BaseModel, Field


class AuditRow(BaseModel):
    """One thing that somebody did or was refused."""

    at: str
    caller: str = Field(description="The key's name, or the person of a token; empty if nobody was known.", examples=["ops"])
    key_id: str
    role: str
    address: str
    method: str
    path: str
    query: str
    status: int = Field(description="0: written before it happened; its end has a row of its own.")
    outcome: str
    detail: str = Field(description="The SQL of a question, at most 2 000 characters, secrets masked; empty for everything else.")


class AuditPage(BaseModel):
    items: list[AuditRow]


class Erased(BaseModel):
    """What is gone, and what is not."""

    erased: dict[str, int] = Field(description="Rows by table; live answers as `redis`.", examples=[{"job_events": 4, "job_executions": 1}])
    kept: str
