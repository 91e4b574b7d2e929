"""Everything that is not an answer, as RFC 9457 problem+json: wrong parameters, unknown paths, stores out of reach,
our own faults.

`install` puts the handlers on an application; routes raise Problem, ParamError or Unavailable, or let FastAPI find
the fault.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from jobtide.query.ranges import ParamError
from jobtide.query.readers import Unavailable
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
BODY_UNREADABLE = "There was an error parsing the body"  # FastAPI's words for bytes that are no UTF-8


class ParamFault(BaseModel):
    param: str = Field(examples=["last"])
    detail: str = Field(examples=["'15' is not a duration: write a whole number and s, m, h, d or w, like 15m"])


class ProblemOut(BaseModel):
    """RFC 9457. `errors` names the parameters of a 422."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["last: '15' is not a duration: write a whole number and s, m, h, d or w, like 15m"])
    instance: str = Field(examples=["/v1/classes"])
    errors: list[ParamFault] | None = None


class Problem(Exception):
    """Answer with this status and one sentence that says what to do."""

    def __init__(
        self, status: int, detail: str, errors: Sequence[ParamFault] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})


def wrong(param: str, detail: str) -> Problem:
    """A 422 about one parameter."""
    return Problem(422, f"{param}: {detail}", [ParamFault(param=param, detail=detail)])


def out_of_reach(*stores: Unavailable) -> Problem:
    """A 503 that names what is missing."""
    return Problem(
        503, "; ".join(f"{s.store}: {s.detail}" for s in stores), headers={"Retry-After": str(RETRY_AFTER_S)}
    )


def response(request: Request, problem: Problem) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.url.path,
    }
    if problem.errors:
        body["errors"] = [fault.model_dump() for fault in problem.errors]
    return Response(orjson.dumps(body), problem.status, problem.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every fault of `app` as problem+json."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(ParamError, _param)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response(request, error)


def _param(request: Request, error: Exception) -> Response:
    assert isinstance(error, ParamError)
    return response(request, wrong(error.param, error.detail))


def _unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, Unavailable)
    return response(request, out_of_reach(error))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [ParamFault(param=_name(found["loc"]), detail=_sentence(found)) for found in error.errors()]
    detail = "; ".join(f"{fault.param}: {fault.detail}" for fault in faults)
    return response(request, Problem(422, detail, faults))


def _name(location: Sequence[int | str]) -> str:
    """`("query", "limit")` → limit; a place in a body keeps its path."""
    parts = [str(part) for part in location]
    return ".".join(parts[1:]) or parts[0]


def _sentence(found: Mapping[str, Any]) -> str:
    if found["type"] == "extra_forbidden":
        return "no such parameter here"
    return str(found["msg"])


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "there is nothing at this path; /openapi.json lists what there is"
    if error.status_code == HTTPStatus.BAD_REQUEST and detail == BODY_UNREADABLE:
        return response(request, wrong("body", "is no JSON in UTF-8"))
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return response(request, Problem(error.status_code, detail, headers=headers))


def _methods(request: Request) -> set[str]:
    """All that the path takes. Starlette names those of the first route only, and a path may have one for each method."""
    found: set[str] = set()
    for top in request.app.routes:
        for route in getattr(getattr(top, "original_router", None), "routes", (top,)):  # FastAPI keeps routers as they were
            if route.matches(request.scope)[0] is not Match.NONE:
                found |= getattr(route, "methods", None) or set()
    return found


def _fault(request: Request, error: Exception) -> Response:
    log.error("a request failed for a reason of ours", exc_info=error, extra={"path": request.url.path})
    return response(request, Problem(500, "the server made a mistake; its log says more"))
