"""Tokens of an OpenID Connect issuer in front of a small application: which are taken, and for whom."""

import base64
import datetime
import hmac
import http.client
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jobtide.access import oidc
from jobtide.access.caller import Caller
from jobtide.access.guard import Access
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import load

from tests.unit.test_access_guard import Place, bearer

ISSUER = "https://login.example"


class Login:
    """An issuer: one key in a file."""

    def __init__(self, directory: Path) -> None:
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.path = directory / "jwks.json"
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.private.public_key()))
        self.path.write_text(json.dumps({"keys": [public | {"kid": "k1", "use": "sig", "alg": "RS256"}]}))
        self.public = public

    def token(self, key: Any = None, algorithm: str = "RS256", kid: str = "k1", **changes: Any) -> str:
        now = datetime.datetime.now(datetime.UTC)
        claims = {
            "iss": ISSUER, "aud": "jobtide", "sub": "u1", "email": "ann@example.org", "exp": now + datetime.timedelta(minutes=5),
            "jobtide_role": "viewer", "jobtide_tenants": ["acme"],
        }  # fmt: skip
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(claims, key if key is not None else self.private, algorithm, headers={"kid": kid})


def confused(token: str, public: str) -> str:
    """The claims of a token, signed with the issuer's public key as if it were a shared secret."""
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT","kid":"k1"}').rstrip(b"=").decode()
    signed = f"{header}.{token.split('.')[1]}"
    return f"{signed}.{base64.urlsafe_b64encode(hmac.digest(public.encode(), signed.encode(), 'sha256')).rstrip(b'=').decode()}"


async def test_tokens_of_the_issuer_are_callers_and_nothing_else_is(tmp_path: Path) -> None:
    login = Login(tmp_path)
    place = Place(tmp_path, oidc_issuer=ISSUER, oidc_jwks=str(login.path))
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    async with place.client() as client:

        async def status(token: str) -> int:
            return (await client.get("/v1/rows", headers=bearer(token))).status_code

        answer = await client.get("/v1/rows", headers=bearer(login.token()))
        assert answer.json() == {"tenant": "acme", "caller": "ann@example.org"}
        everywhere = login.token(jobtide_tenants="*", jobtide_role=["viewer", "admin"])
        assert (await client.get("/v1/forgetful", headers=bearer(everywhere))).status_code == 200
        assert await status(place.admin) == 200  # keys as well
        bad = [
            login.token(exp=old), login.token(exp=None), login.token(aud="other"), login.token(iss="https://evil.example"), login.token(sub=None),
            login.token(jobtide_role="god"), login.token(jobtide_role="ingest"), login.token(jobtide_role=None), login.token(jobtide_tenants=None),
            login.token(jobtide_tenants=[]), login.token(stranger), login.token(kid="k2"),
            login.token(ec.generate_private_key(ec.SECP256R1()), "ES256"),
            confused(login.token(), json.dumps(login.public)), login.token("", "none"), login.token()[:-4] + "AAAA", "ey.ey.ey", "a.b.c",
        ]  # fmt: skip
        assert [await status(token) for token in bad] == [401] * len(bad)


def test_an_issuer_needs_its_keys(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="JOBTIDE_OIDC_ISSUER needs JOBTIDE_OIDC_JWKS"):
        load({}, oidc_issuer=ISSUER)
    with pytest.raises(ConfigError, match="JOBTIDE_OIDC_JWKS must be a file or start with https"):
        load({}, oidc_issuer=ISSUER, oidc_jwks="http://keys.example/jwks")
    with pytest.raises(ConfigError, match="is not a file with a JSON Web Key Set"):
        Access(load({}, oidc_issuer=ISSUER, oidc_jwks=str(tmp_path / "none")))


NO_KEYS = [b"", b"{", b"[]", b"7", b'{"keys": 1}', b'{"keys": [1]}', b'{"keys": [{"kty": "RSA", "n": 1, "e": "AQAB"}]}', b"<html>", b"\xff"]


@pytest.mark.parametrize("content", NO_KEYS)
def test_a_file_without_keys_is_told_at_the_start(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jwks.json").write_bytes(content)
    with pytest.raises(ConfigError, match="is not a file with a JSON Web Key Set"):
        Access(load({}, oidc_issuer=ISSUER, oidc_jwks=str(tmp_path / "jwks.json")))


def test_an_issuer_that_sends_rubbish_is_asked_seldom_and_its_keys_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login = Login(tmp_path)
    issuer = oidc.Issuer(load({}, oidc_issuer=ISSUER, oidc_jwks=str(login.path)))
    asked: list[str] = []
    rubbish: list[bytes | Exception] = [*NO_KEYS, http.client.IncompleteRead(b""), OSError("away")]

    def content(place: str) -> bytes:
        asked.append(place)
        said = rubbish[len(asked) - 1]
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(oidc, "_content", content)
    clock = [oidc.time.monotonic()]
    monkeypatch.setattr(oidc, "time", type("Clock", (), {"monotonic": staticmethod(lambda: clock[0])}))
    clock[0] += 2 * oidc.KEPT_S
    for number in range(len(rubbish)):
        for kid in ("k1", "k2", "k1"):
            found = issuer.find(login.token(kid=kid))
            assert isinstance(found, Caller) is (kid == "k1"), (number, found)
        assert len(asked) == number + 1
        clock[0] += 2 * oidc.REFETCH_S
