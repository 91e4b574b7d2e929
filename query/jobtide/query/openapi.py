"""The OpenAPI document: what FastAPI knows of the routes, with our problem+json in place of its error shape."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import FastAPI
from jobtide.query.examples import EXAMPLES
from jobtide.query.live_answers import LiveEvent
from jobtide.query.problems import MEDIA_TYPE, ProblemOut

REF = "#/components/schemas/"
FAULTS = {
    "404": "Nothing is known of it.",
    "422": "A parameter is wrong; `errors` says which and what would be right.",
    "503": "A store that the answer needs is out of reach; `detail` names it.",
}


GUARDED_FAULTS = {
    "401": "No good key or token.",
    "403": "The key's role or tenant is another.",
    "429": "More requests than the key may make; `Retry-After` says when to come back.",
}
NOT_FOUND = ("/timeline", "/compare", "/silences/{silence_id}", "/redeliver")  # paths that name one thing, which may not be there
FREE = frozenset({"/healthz", "/readyz"})


def install(app: FastAPI, guarded: bool = False) -> None:
    """Make `app.openapi` produce it. `guarded`: keys are asked for."""
    plain = app.openapi

    def documented() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(plain())
            if guarded:
                _with_keys(app.openapi_schema)
        return app.openapi_schema

    app.openapi = documented  # type: ignore[method-assign]  # FastAPI's documented way


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemOut, LiveEvent):
        schema = model.model_json_schema(ref_template=REF + "{model}", by_alias=True)
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                _describe(path, operation["responses"])
                _exemplify(path, operation)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _with_keys(document: dict[str, Any]) -> None:
    scheme = {"type": "http", "scheme": "bearer", "description": "An API key (`jobtide keys create`), or a token of the issuer."}
    document["components"]["securitySchemes"] = {"key": scheme}
    content = {MEDIA_TYPE: {"schema": {"$ref": REF + ProblemOut.__name__}}}
    for path, operations in document["paths"].items():
        if path in FREE:
            continue
        for operation in operations.values():
            operation["security"] = [{"key": []}]
            for status, description in GUARDED_FAULTS.items():
                operation["responses"][status] = {"description": description, "content": content}


def _exemplify(path: str, operation: dict[str, Any]) -> None:
    """The example of a path: in the description for people, at its parameters for tools."""
    if path not in EXAMPLES:
        return
    operation["description"] = f"{operation.get('description', '')}\n\nExample: `GET {EXAMPLES[path]}`".strip()
    given = parse_qs(urlsplit(EXAMPLES[path]).query)
    for parameter in operation.get("parameters", []):
        if parameter["name"] in given:
            parameter["example"] = given[parameter["name"]][0]


def _describe(path: str, responses: dict[str, Any]) -> None:
    content = {MEDIA_TYPE: {"schema": {"$ref": REF + ProblemOut.__name__}}}
    for status, description in FAULTS.items():
        if status != "404" or path.endswith(NOT_FOUND):
            responses[status] = {"description": description, "content": content}
    if path == "/v1/live":
        responses["200"]["content"]["text/event-stream"] = {"schema": {"$ref": REF + LiveEvent.__name__}}
