"""Keys, their file, the roles, and what a confined caller's query becomes."""

import asyncio
import json
import os
import stat
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner
from jobtide.access import policy
from jobtide.access.caller import OPEN, Caller, Role
from jobtide.access.keyring import LOOK_US, KeyFile, Keyring
from jobtide.access.keys import Key, Keys, Refusal, digest, token_of
from jobtide.access.limits import MINUTE_US, RETRY_US, Limiter, LocalCounter
from jobtide.cli.main import cli
from jobtide.streams.errors import ConfigError
from redis.exceptions import ConnectionError as RedisAway

NOW = 1_800_000_000_000_000
TEMPLATE = Key(id="", sha256="", name="n", role=Role.VIEWER, created_us=NOW)


def made(key_id: str, secret: str, **changes: object) -> tuple[str, Key]:
    token = token_of(key_id, secret)
    return token, Key(id=key_id, sha256=digest(token), name="n", role=Role.VIEWER, created_us=NOW, **changes)  # type: ignore[arg-type]


def test_a_token_is_good_until_it_expires_or_is_revoked_and_only_with_its_secret() -> None:
    token, key = made("0" * 12, "a" * 64, expires_us=NOW + 10, tenants=("acme",))
    revoked_token, revoked = made("1" * 12, "b" * 64, revoked_us=NOW)
    keys = Keys([key, revoked])
    found = keys.find(token, NOW)
    assert isinstance(found, Caller) and found.tenants == ("acme",) and found.key_id == "0" * 12
    assert keys.find(token, NOW + 10) is Refusal.EXPIRED
    assert keys.find(revoked_token, NOW) is Refusal.REVOKED
    assert keys.find(token_of("0" * 12, "c" * 64), NOW) is Refusal.UNKNOWN
    assert keys.find(token_of("2" * 12, "a" * 64), NOW) is Refusal.UNKNOWN
    # A wrong secret of a revoked key is not told that the key was revoked.
    assert keys.find(token_of("1" * 12, "a" * 64), NOW) is Refusal.UNKNOWN
    for text in ("", "jt_", token + "0", token.upper(), " " + token, token[:-1] + "é", "jt_" + "0" * 77):
        assert keys.find(text, NOW) is Refusal.MALFORMED


def test_the_file_holds_no_token_and_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "keys.json"
    token = KeyFile(path).create(TEMPLATE)
    secret = token.rpartition("_")[2]
    assert secret not in path.read_text() and token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [key.state(NOW) for key in KeyFile(path).read()] == ["good"]


def test_a_running_server_follows_the_file(tmp_path: Path) -> None:
    file, now = KeyFile(tmp_path / "keys.json"), [NOW]
    first = file.create(TEMPLATE)
    ring = Keyring(file.path, lambda: now[0])
    assert isinstance(ring.find(first), Caller)
    second = file.create(TEMPLATE)
    assert ring.find(second) is Refusal.UNKNOWN  # it has just looked
    now[0] += LOOK_US
    assert isinstance(ring.find(second), Caller)
    file.revoke(first.split("_")[1], NOW)
    now[0] += LOOK_US
    assert ring.find(first) is Refusal.REVOKED
    good = file.path.read_bytes()
    file.path.write_text('{"version": 1, "keys": [')  # somebody's editor
    now[0] += LOOK_US
    assert isinstance(ring.find(second), Caller)
    with pytest.raises(ConfigError, match="is not a keys file"):
        Keyring(file.path, lambda: now[0])
    file.path.write_bytes(good)
    now[0] += LOOK_US
    assert isinstance(ring.find(second), Caller)
    file.path.unlink()
    now[0] += LOOK_US
    assert ring.find(second) is Refusal.UNKNOWN


def test_the_command_line_makes_lists_and_revokes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    monkeypatch.setenv("JOBTIDE_KEYS_FILE", str(path))
    run = CliRunner().invoke

    confines = ["--tenant", "acme", "--environment", "production", "--expires", "90d"]
    made_key = run(cli, ["keys", "create", "--role", "ingest", "--name", "shop", *confines])
    assert made_key.exit_code == 0, made_key.output
    token = made_key.output.strip()
    (row,) = json.loads(run(cli, ["keys", "list", "--json"]).output)
    assert row | {"created_at": "", "expires_at": ""} == {
        "id": token.split("_")[1], "name": "shop", "role": "ingest", "tenants": ["acme"], "environments": ["production"], "state": "good",
        "created_at": "", "expires_at": "", "revoked_at": None,
    }  # fmt: skip
    assert token.rpartition("_")[2] not in run(cli, ["keys", "list"]).output
    assert run(cli, ["keys", "revoke", row["id"]]).exit_code == 0
    assert json.loads(run(cli, ["keys", "list", "--json"]).output)[0]["state"] == "revoked"
    refused = run(cli, ["keys", "revoke", "nobody"])
    assert isinstance(refused.exception, ConfigError) and "jobtide keys list" in str(refused.exception)
    for wrong in (["--role", "ingest"], ["--role", "viewer", "--environment", "e"], ["--role", "viewer", "--expires", "soon"], ["--role", "god"]):
        assert run(cli, ["keys", "create", "--name", "x", *wrong]).exit_code == 2
    monkeypatch.delenv("JOBTIDE_KEYS_FILE")
    assert isinstance(run(cli, ["keys", "list"]).exception, ConfigError)


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [
        ("GET", "/v1/queues", "viewer operator admin"),
        ("GET", "/metrics", "viewer operator admin"),
        ("GET", "/anything/else", "viewer operator admin"),
        ("POST", "/v1/query", "viewer operator admin"),
        ("POST", "/v1/silences", "operator admin"),
        ("DELETE", "/v1/silences/1", "operator admin"),
        ("PUT", "/v1/rules/1", "operator admin"),
        ("GET", "/v1/admin/audit", "admin"),
        ("DELETE", "/v1/admin/jobs/1", "admin"),
        ("POST", "/v1/events", "ingest admin"),
        ("GET", "/healthz", "ingest viewer operator admin nobody"),
    ],
)
def test_who_may_do_what(method: str, path: str, roles: str) -> None:
    allowed = {role.value for role in Role if policy.role_denied(Caller("x", role), method, path) is None}
    if policy.role_denied(Caller("", None), method, path) is None:
        allowed.add("nobody")
    assert allowed == set(roles.split())


def confined(query: str, *tenants: str, path: str = "/v1/queues") -> dict[str, list[str]] | int:
    found = policy.confined(Caller("x", Role.VIEWER, tenants), path, query.encode())
    return found.status if isinstance(found, policy.Denied) else parse_qs(found.decode(), keep_blank_values=True)


def test_a_confined_caller_asks_about_its_tenant_whatever_it_writes() -> None:
    assert confined("", "acme") == {"tenant": ["acme"]}
    assert confined("last=5m&queue=a%26b", "acme") == {"last": ["5m"], "queue": ["a&b"], "tenant": ["acme"]}
    assert confined("tenant=acme", "acme") == {"tenant": ["acme"]}
    assert confined("tenant=b", "a", "b") == {"tenant": ["b"]}
    assert confined("", "a", "b") == 403
    foreign = ("tenant=other", "tenant=", "tenant=acme&tenant=other", "tenant=other&tenant=acme", "t%65nant=other", "tenant=acme%00", "tenant=ACME")
    assert [confined(query, "acme") for query in foreign] == [403] * len(foreign)
    assert confined("tenant=acme&tenant=acme", "acme") == 422
    assert confined("", "acme", path="/metrics") == 403
    assert confined("tenant=x", path="/v1/queues") == 403  # for no tenant at all
    assert policy.confined(OPEN, "/v1/queues", b"tenant=x") == b"tenant=x"


class Away:
    calls = 0

    async def add(self, name: str, window: int) -> int:
        self.calls += 1
        raise RedisAway("gone")


async def test_limits_count_alone_while_redis_is_away() -> None:
    now, away = [MINUTE_US * 100], Away()
    limiter = Limiter(away, lambda: now[0])
    assert [await limiter.seconds_to_wait("a", 2) for _ in range(3)] == [0, 0, 60]
    assert await limiter.seconds_to_wait("b", 2) == 0
    assert away.calls == 1  # not asked again at once
    now[0] += RETRY_US
    assert await limiter.seconds_to_wait("a", 2) == 55
    assert away.calls == 2
    now[0] = MINUTE_US * 101
    assert await limiter.seconds_to_wait("a", 2) == 0


async def test_limits_of_all_processes_count_together() -> None:
    shared = LocalCounter()  # stands for Redis
    one, other = Limiter(shared, lambda: NOW), Limiter(shared, lambda: NOW)
    waits = [await limiter.seconds_to_wait("a", 3) for limiter in (one, other, one, other)]
    assert [wait > 0 for wait in waits] == [False, False, False, True]


async def test_two_command_lines_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    await asyncio.gather(*(asyncio.to_thread(KeyFile(path).create, TEMPLATE) for _ in range(20)))
    assert len(KeyFile(path).read()) == 20
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".keys.json.") and not name.endswith(".lock")]
