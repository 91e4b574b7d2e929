"""`POST /v1/query`, `GET /v1/query/views` and `GET /v1/export/{view}`: SQL for analysts, and whole tables as files. From history."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from jobtide.access.guard import write_down
from jobtide.query.analyst import Analyst, Busy, Failed, Pieces
from jobtide.query.engine import Engine
from jobtide.query.params import Exported, Name
from jobtide.query.problems import ParamFault, Problem, wrong
from jobtide.query.query_answers import ColumnOut, QueryAnswer, QueryAsked, ViewOut, ViewsOut
from jobtide.query.questions import question
from jobtide.query.ranges import resolve
from jobtide.query.sources import Sources
from jobtide.query.sql_functions import AGGREGATES, FUNCTIONS
from jobtide.query.sql_guard import VIEWS, Refused, guarded, physical
from starlette.types import Receive, Scope, Send

FORMATS = {"csv": ("CSVWithNames", "text/csv; charset=utf-8"), "ndjson": ("JSONEachRow", "application/x-ndjson")}
FORMATS |= {"parquet": ("Parquet", "application/vnd.apache.parquet"), "arrow": ("ArrowStream", "application/vnd.apache.arrow.stream")}
ResultFormat = Annotated[
    Literal["json", "csv", "ndjson", "parquet", "arrow"], Query(description="json with columns and types, or a file as ClickHouse writes it.")
]
OneTenant = Annotated[Name | None, Query(description="Only rows of this tenant.")]
ExportedView = Annotated[
    Literal["executions", "failed_executions", "rollups", "rollup_hours", "events", "alerts", "workers", "queue_states", "deploys"],
    Path(description="What to export: a view of analysts."),
]
CLASSLESS = ("workers", "queue_states", "deploys")
FILE = {"content": {media: {"schema": {"type": "string", "format": "binary"}} for _, media in FORMATS.values()}}


BUSY_RETRY_S = 10


class Download(StreamingResponse):
    """An export on its way: closed whatever becomes of it, also if the client is gone before the first piece is asked for."""

    def __init__(self, pieces: Pieces, media_type: str, headers: dict[str, str]) -> None:
        super().__init__(pieces, media_type=media_type, headers=headers)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._pieces.close()


def router(sources: Sources, engine: Engine, analyst: Analyst) -> APIRouter:
    routes = APIRouter(tags=["analysts"])

    @routes.post("/v1/query", summary="One SELECT over views, read-only and with limits", responses={200: FILE}, response_model=QueryAnswer)
    async def query(request: Request, asked: QueryAsked, tenant: OneTenant = None, format: ResultFormat = "json") -> QueryAnswer | Response:
        """Only SELECT, only the views and functions that `/v1/query/views` lists, no clause that changes settings, files or formats. With
        `tenant`, and always for a caller that is confined to one, every view holds that tenant's rows only. Times and memory are limited
        (`JOBTIDE_QUERY_MAX_S`, `JOBTIDE_QUERY_MAX_MEMORY_MB`), rows cut off (`JOBTIDE_QUERY_MAX_ROWS`)."""
        write_down(request, asked.sql)
        try:
            sql = guarded(asked.sql, tenant)
            begun = time.monotonic()
            if format != "json":
                name, media = FORMATS[format]
                return Response(await analyst.formatted(sql, tenant, name), media_type=media)
            found = await analyst.rows(sql, tenant)
        except Refused as refused:
            raise wrong("sql", refused.detail) from refused
        except Failed as failed:
            raise Problem(422, f"ClickHouse: {failed}", [ParamFault(param="sql", detail=str(failed))]) from failed
        columns = [ColumnOut(name=name, type=kind) for name, kind in found.columns]
        elapsed_ms = round((time.monotonic() - begun) * 1000, 1)
        return QueryAnswer(columns=columns, rows=found.rows, truncated=found.truncated, elapsed_ms=elapsed_ms, sql=sql)

    @routes.get("/v1/query/views", summary="What can be asked in SQL: views, columns, functions")
    async def views(tenant: OneTenant = None) -> ViewsOut:
        """The same for every tenant."""
        columns: dict[str, list[ColumnOut]] = {}
        for table, name, kind in await engine.ask("analyst_columns", {"views": [physical(view) for view in VIEWS]}):
            columns.setdefault(table, []).append(ColumnOut(name=name, type=kind))
        items = [ViewOut(name=name, description=words, columns=columns.get(physical(name), [])) for name, words in VIEWS.items()]
        return ViewsOut(items=items, functions=sorted(FUNCTIONS | AGGREGATES))

    @routes.get(
        "/v1/export/{view}", summary="A view as a file, streamed: CSV, JSON lines, Parquet or Arrow", responses={200: FILE}, response_class=Response
    )
    async def export(view: ExportedView, params: Exported) -> StreamingResponse:
        """All rows of the range (default: the last 24 hours): attempts by when they came into their state, minutes and hours by their start,
        everything else by its time. Rows come in no order."""
        if view in CLASSLESS and params.job_class is not None:
            raise wrong("job_class", f"{view} have none: leave it out")
        range_ = resolve(params.last, params.from_, params.to, sources.now_us(), "24h")
        name, media = FORMATS[params.format]
        selection = params.selection()
        parameters = {**{part: value for part, value in zip(("tenant", "environment", "system", "queue", "job_class"), selection.parts, strict=True)}}
        parameters |= {"from_us": range_.from_us, "to_us": range_.to_us}  # type: ignore[dict-item]
        try:
            pieces = await analyst.export(question(f"export_{view}"), selection.tenant, name, parameters)
        except Failed as failed:
            raise Problem(422, f"ClickHouse: {failed}") from failed
        except Busy as busy:
            raise Problem(429, f"{busy}: come back in {BUSY_RETRY_S} s", headers={"Retry-After": str(BUSY_RETRY_S)}) from busy
        headers = {"content-disposition": f'attachment; filename="{view}.{params.format}"'}
        return Download(pieces, media, headers)

    return routes
