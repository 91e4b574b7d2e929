"""The guard in front of a small application: who gets in, as whom, how often, and what is written down of it.

Redis is out of reach here on purpose: limits must hold without it.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI, Query, Request
from jobtide.access.audit import COLUMNS
from jobtide.access.caller import Role
from jobtide.access.guard import REFUSED_PER_MINUTE, Access, _is_audited, caller_of, install, takes_tenant
from jobtide.access.keyring import KeyFile
from jobtide.access.keys import Key
from jobtide.sinks.inserts import Insert
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import load
from pydantic import BaseModel

NOWHERE = "redis://127.0.0.1:1/0"


class Params(BaseModel):
    tenant: str | None = None


def application(access: Access) -> FastAPI:
    app = FastAPI(dependencies=[Depends(takes_tenant)])

    @app.get("/v1/rows")
    async def rows(params: Annotated[Params, Query()], request: Request) -> dict[str, Any]:
        return {"tenant": params.tenant, "caller": caller_of(request).name}

    @app.get("/v1/forgetful")
    async def forgetful() -> str:
        return "rows of every tenant"

    @app.post("/v1/rows")
    async def change(params: Annotated[Params, Query()]) -> str:
        return "changed"

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    install(app, access)
    return app


class Place:
    def __init__(self, path: Path, **settings: Any) -> None:
        self.file = KeyFile(path / "keys.json")
        self.admin = self.key(Role.ADMIN)
        self.written: list[Insert] = []
        self.settings = load({}, keys_file=str(self.file.path), redis_url=NOWHERE, **settings)

    def key(self, role: Role, *tenants: str, **changes: Any) -> str:
        return self.file.create(Key(id="", sha256="", name=role.value, role=role, tenants=tenants or None, created_us=0, **changes))

    def write(self, insert: Insert) -> None:
        self.written.append(insert)

    def client(self) -> httpx.AsyncClient:
        self.access = Access(self.settings, self.write)
        transport = httpx.ASGITransport(application(self.access), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://jobtide")


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    yield Place(tmp_path)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_nobody_gets_in_without_a_good_key(place: Place) -> None:
    ingest, gone = place.key(Role.INGEST, "acme"), place.key(Role.VIEWER, expires_us=1)
    async with place.client() as client:
        none = await client.get("/v1/rows")
        assert none.status_code == 401 and none.headers["www-authenticate"].startswith("Bearer")
        assert none.headers["content-type"] == "application/problem+json" and "jobtide keys create" in none.json()["detail"]
        assert (await client.get("/v1/rows", headers=bearer(gone))).json()["detail"] == "the key or token has expired"
        for wrong in ("x", "jt_" + "0" * 12 + "_" + "0" * 64, place.admin[:-1] + "g", ""):
            assert (await client.get("/v1/rows", headers=bearer(wrong))).status_code == 401
        assert (await client.get("/v1/rows", headers={"authorization": f"Basic {place.admin}"})).status_code == 401
        assert (await client.get(f"/v1/rows?key={place.admin}&access_token={place.admin}")).status_code == 401
        assert (await client.get("/v1/rows", headers=bearer(ingest))).status_code == 403
        assert (await client.get("/docs")).status_code == 200 == (await client.get("/healthz")).status_code
        assert (await client.get("/v1/rows", headers=bearer(place.admin))).json() == {"tenant": None, "caller": "admin"}
        assert (await client.get("/v1/rows", headers={"x-api-key": place.admin})).status_code == 200
        assert (await client.get("/nothing/here")).status_code == 401  # not even which paths there are


async def test_a_confined_key_sees_its_tenant_only_and_no_route_that_forgot_tenants(place: Place) -> None:
    key = place.key(Role.VIEWER, "acme")
    async with place.client() as client:
        assert (await client.get("/v1/rows", headers=bearer(key))).json()["tenant"] == "acme"
        assert (await client.get("/v1/rows?tenant=other", headers=bearer(key))).status_code == 403
        assert (await client.get("/v1/forgetful", headers=bearer(key))).status_code == 403
        assert (await client.get("/openapi.json", headers=bearer(key))).status_code == 200
        assert (await client.get("/v1/forgetful", headers=bearer(place.admin))).status_code == 200
        assert (await client.post("/v1/rows", headers=bearer(key))).status_code == 403


async def test_more_than_the_limit_is_told_when_to_come_back(place: Place) -> None:
    key, other = place.key(Role.VIEWER, rate_per_minute=3), place.key(Role.VIEWER, rate_per_minute=3)
    async with place.client() as client:
        answers = [await client.get("/v1/rows", headers=bearer(key)) for _ in range(8)]
        assert [a.status_code for a in answers[:3]] == [200] * 3 or 429 not in [a.status_code for a in answers[:3]]
        last = answers[-1]
        assert last.status_code == 429 and 1 <= int(last.headers["retry-after"]) <= 60
        assert last.headers["content-type"] == "application/problem+json"
        assert (await client.get("/v1/rows", headers=bearer(other))).status_code == 200
        assert (await client.get("/healthz", headers=bearer(key))).status_code == 200
        refused = [(await client.get("/v1/rows", headers=bearer("x"))).status_code for _ in range(2 * REFUSED_PER_MINUTE + 2)]
        assert refused[0] == 401 and refused[-1] == 429
        assert (await client.get("/v1/rows", headers=bearer(other))).status_code == 200  # guessing locks nobody out


async def test_changes_and_refusals_are_written_down_and_reads_are_not(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "jobtide.audit")
    viewer = place.key(Role.VIEWER)
    async with place.client() as client:
        await client.get("/v1/rows", headers=bearer(viewer))
        await client.post("/v1/rows?tenant=t", headers=bearer(place.admin))
        await client.post("/v1/rows", headers=bearer(viewer))
        await client.get("/v1/rows", headers=bearer("jt_" + "0" * 12 + "_" + "0" * 64))
        await client.get("/v1/rows")
    told = [(r.caller, r.path, r.query, r.status, r.outcome) for r in caplog.records if r.name == "jobtide.audit"]  # type: ignore[attr-defined]
    assert told == [
        ("admin", "/v1/rows", "tenant=t", 200, "done"),
        ("viewer", "/v1/rows", "", 403, "this needs the role operator, and the key is a viewer"),
        ("", "/v1/rows", "", 401, "unknown_key"),
    ]
    assert viewer not in caplog.text and place.admin not in caplog.text
    await place.access.trail.flush()
    (stored,) = place.written
    assert (stored.table, stored.columns, stored.rows) == ("audit_log", COLUMNS, 3)
    assert not any(token.encode() in stored.packed for token in (viewer, place.admin))


async def test_web_pages_of_other_origins_only_where_they_are_named(tmp_path: Path) -> None:
    ask = {"origin": "https://a.example", "access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    async with Place(tmp_path).client() as client:
        answer = await client.options("/v1/rows", headers=ask)
        assert answer.status_code == 401 and "access-control-allow-origin" not in answer.headers
    allowed = Place(tmp_path, cors_origins="https://a.example, https://b.example")
    async with allowed.client() as client:
        answer = await client.options("/v1/rows", headers=ask)
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://a.example"
        assert (await client.options("/v1/rows", headers=ask | {"origin": "https://c.example"})).status_code == 400


def test_without_a_good_key_nothing_starts(tmp_path: Path) -> None:
    settings = load({}, keys_file=str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match=r"no good key in .*none\.json: run `jobtide keys create"):
        Access(settings)


async def test_what_up_starts_gets_in(tmp_path: Path) -> None:
    place = Place(tmp_path, up_key="u" * 64)
    async with place.client() as client:
        assert (await client.get("/v1/rows", headers=bearer("u" * 64))).json()["caller"] == "up"
        assert (await client.get("/v1/rows", headers=bearer("u" * 63))).status_code == 401
    with pytest.raises(ConfigError, match="JOBTIDE_UP_KEY is too short"):
        load({}, up_key="short")


@pytest.mark.parametrize(
    ("method", "path", "audited"),
    [
        ("GET", "/v1/export/executions", True), ("HEAD", "/v1/export/events", True), ("POST", "/v1/query", True), ("DELETE", "/v1/silences/1", True),
        ("GET", "/v1/overview", False), ("POST", "/v1/rules/check", False), ("POST", "/v1/events", False), ("GET", "/v1/jobs", False),
    ],
)  # fmt: skip
def test_exports_questions_and_changes_are_written_down(method: str, path: str, audited: bool) -> None:
    assert _is_audited(method, path) is audited
