"""The shape of `/v1/query`. Models only."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class QueryAsked(BaseModel):
    """One SELECT over the views that `/v1/query/views` names."""

    model_config = ConfigDict(extra="forbid")
    sql: str = Field(
        min_length=1,
        max_length=20_000,
        description="ClickHouse's SQL.",
        examples=["SELECT queue, count() AS attempts FROM executions GROUP BY queue"],
    )


class ColumnOut(BaseModel):
    name: str
    type: str = Field(description="As ClickHouse names it.", examples=["UInt64"])


class QueryAnswer(BaseModel):
    columns: list[ColumnOut]
    rows: list[list[Any]] = Field(description="In the order of the columns; 64-bit integers are texts, as ClickHouse writes them.")
    truncated: bool = Field(description="There were more rows than may be answered (`JOBTIDE_QUERY_MAX_ROWS`).")
    elapsed_ms: float
    sql: str = Field(description="What was run.")


class ViewOut(BaseModel):
    name: str
    description: str
    columns: list[ColumnOut]


class ViewsOut(BaseModel):
    items: list[ViewOut]
    functions: list[str] = Field(description="The functions that can be used, in lower case; their case does not matter here, but to ClickHouse.")
