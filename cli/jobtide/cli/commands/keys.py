"""`jobtide keys create|list|revoke`: the keys file, changed from the command line. Running servers read it again by themselves."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_file = click.option("--file", "path", type=click.Path(path_type=Path), help="The keys file.  [default: JOBTIDE_KEYS_FILE]")


def _path(given: Path | None) -> Path:
    from jobtide.streams.errors import ConfigError
    from jobtide.streams.settings import load

    if given is not None:
        return given
    settings = load(os.environ)
    if not settings.keys_file:
        raise ConfigError("which keys file? Set JOBTIDE_KEYS_FILE, for this command and for the servers, or give --file")
    return Path(settings.keys_file)


@click.group()
def command() -> None:
    """Make, list and revoke API keys."""


@command.command()
@click.option("--name", required=True, help="Whose it is; the audit log shows it.")
@click.option("--role", type=click.Choice(["ingest", "viewer", "operator", "admin"]), required=True, help="What it is for.")
@click.option("--tenant", "tenants", multiple=True, help="Only this tenant; may be repeated. An ingest key has exactly one.")
@click.option("--environment", "environments", multiple=True, help="Ingest keys: only events of this environment; may be repeated.")
@click.option("--expires", metavar="90d", help="How long it is good: a number and m, h, d or w.  [default: until revoked]")
@click.option("--rate", type=click.IntRange(0), help="Requests per minute; 0 = no limit.  [default: JOBTIDE_RATE_PER_MINUTE]")
@_file
def create(
    name: str, role: str, tenants: tuple[str, ...], environments: tuple[str, ...], expires: str | None, rate: int | None, path: Path | None
) -> None:
    """Make a key and print it. It is shown once: only a hash of it is kept."""
    from jobtide.access.caller import Role
    from jobtide.access.keyring import KeyFile
    from jobtide.access.keys import Key

    if role == "ingest" and len(tenants) != 1:
        raise click.UsageError("an ingest key needs exactly one --tenant: it says whose events come with it")
    if environments and role != "ingest":
        raise click.UsageError("--environment is for ingest keys")
    now_us = time.time_ns() // 1000
    template = Key(
        id="",
        sha256="",
        name=name,
        role=Role(role),
        tenants=tenants or None,
        environments=environments or None,
        rate_per_minute=rate,
        created_us=now_us,
        expires_us=None if expires is None else now_us + _seconds(expires) * 1_000_000,
    )
    click.echo(KeyFile(_path(path)).create(template))


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_file
def list_(as_json: bool, path: Path | None) -> None:
    """Show all keys, without their secrets."""
    from jobtide.access.keyring import KeyFile

    now_us = time.time_ns() // 1000
    rows: list[dict[str, Any]] = [
        {
            "id": key.id,
            "name": key.name,
            "role": key.role.value,
            "tenants": list(key.tenants) if key.tenants is not None else "all",
            "environments": list(key.environments) if key.environments is not None else "all",
            "state": key.state(now_us),
            "created_at": _text(key.created_us),
            "expires_at": _text(key.expires_us),
            "revoked_at": _text(key.revoked_us),
        }
        for key in KeyFile(_path(path)).read()
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        tenants = "all tenants" if row["tenants"] == "all" else ",".join(row["tenants"])
        until = f" until {row['expires_at']}" if row["expires_at"] else ""
        click.echo(f"{row['id']}  {row['state']:<8} {row['role']:<9} {row['name']}  ({tenants}){until}")


@command.command()
@click.argument("key_id")
@_file
def revoke(key_id: str, path: Path | None) -> None:
    """Refuse a key from now on; servers follow within a second."""
    from jobtide.access.keyring import KeyFile

    key = KeyFile(_path(path)).revoke(key_id, time.time_ns() // 1000)
    click.echo(f"revoked {key.id} ({key.name})")


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9]\d{0,6})([mhdw])", text)
    if found is None:
        raise click.UsageError(f"--expires {text!r}: write a whole number and m, h, d or w, like 90d")
    return int(found[1]) * _UNITS_S[found[2]]


def _text(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
