"""`jobtide up`: reads its flags, then `jobtide.cli.up` does the work."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from jobtide.cli.up.data import DEFAULT

if TYPE_CHECKING:
    from jobtide.streams.settings import Settings

# Settings that name files: the processes that `up` starts run in another directory.
_FILES = ("keys_file", "rules", "receivers", "oidc_jwks", "broker_tls_ca", "broker_tls_cert", "broker_tls_key", "redis_tls_ca", "clickhouse_tls_ca")


def _with_whole_paths(settings: Settings) -> Settings:
    """The settings with absolute paths, which the environment of the processes to start gets as well."""
    from jobtide.streams.settings import variable

    named = {name: getattr(settings, name) for name in _FILES}
    whole: dict[str, Any] = {name: str(Path(path).absolute()) for name, path in named.items() if path and "://" not in path}
    os.environ.update({variable(name): path for name, path in whole.items()})
    return replace(settings, **whole)


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=DEFAULT,
    show_default=True,
    help="Directory that keeps everything; a second `up` on it continues.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65531),
    help="HTTP port (JOBTIDE_HTTP_PORT, 8321). Kafka and Valkey take the next ones.",
)
@click.option("--demo", is_flag=True, help="Also run real Celery and RQ workers and draw what they do.")
@click.option("--ephemeral", is_flag=True, help="In-memory broker instead of Kafka: no Java, nothing kept but history.")
@click.option("--rebuild", is_flag=True, help="First throw away the live state: everything in Kafka is folded again.")
@click.option("--broker", metavar="HOST:PORT", envvar="JOBTIDE_BROKER", help="Use this Kafka, start none.")
@click.option("--redis", metavar="URL", envvar="JOBTIDE_REDIS_URL", help="Use this Redis or Valkey, start none.")
@click.option("--clickhouse", metavar="URL", envvar="JOBTIDE_CLICKHOUSE_URL", help="Use this ClickHouse, not the embedded engine.")
def command(
    data: Path,
    port: int | None,
    demo: bool,
    ephemeral: bool,
    rebuild: bool,
    broker: str | None,
    redis: str | None,
    clickhouse: str | None,
) -> None:
    """Start everything on this machine: Kafka, Valkey, a streams worker, and one HTTP port for events and answers.

    Needs no Docker; Kafka needs Java 17 or newer. Ends cleanly on Ctrl-C, continues when started again.
    """
    import secrets

    from jobtide.cli.embedded import kafka
    from jobtide.cli.serving import require_loopback_or_keys
    from jobtide.cli.up.data import DataDirectory, end_leftovers
    from jobtide.cli.up.plan import Asked, make
    from jobtide.cli.up.supervisor import Stopped, Supervisor
    from jobtide.streams.settings import load

    begun = time.monotonic()
    settings = load(os.environ, http_port=port, broker=broker, redis_url=redis, clickhouse_url=clickhouse)
    require_loopback_or_keys(settings)
    settings = _with_whole_paths(settings)
    if settings.guarded:
        os.environ["JOBTIDE_UP_KEY"] = secrets.token_hex(32)  # for the processes it starts, which must get in as well
    directory = DataDirectory(data)
    directory.lock()
    end_leftovers(directory, kafka.GRACE_S)
    asked = Asked(data, settings.http_host, settings.http_port, broker, redis, clickhouse, ephemeral, demo, rebuild)
    plan = make(asked, click.echo)
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    notes = Notes(directory.notes)
    supervisor = Supervisor(plan, notes.tell)
    supervisor.handle_signals()
    try:
        supervisor.start()
        _announce(plan.addresses, data, time.monotonic() - begun)
        if demo and sys.stdout.isatty():
            notes.leave_to_the_table()
        supervisor.add(plan.after_ready)
        supervisor.watch()
    except Stopped:
        pass
    finally:
        click.echo("stopping")
        supervisor.stop()
        click.echo("stopped")
        directory.addresses.unlink(missing_ok=True)


class Notes:
    """What the supervisor tells, on the terminal and in a file; only in the file while a table is drawn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._echo = True
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def leave_to_the_table(self) -> None:
        """From now on only in the file, which begins anew."""
        self._echo = False
        self._path.write_text("")

    def tell(self, line: str) -> None:
        """Pass one line on."""
        with self._path.open("a") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        if self._echo:
            click.echo(f"  {line}")


def _announce(addresses: dict[str, str], data: Path, took_s: float) -> None:
    http = addresses["http"]
    click.echo(
        f"ready after {took_s:.1f} s: {http}\n"
        f"  send events   POST {http}/v1/events, or to Kafka at {addresses['broker']}\n"
        f"  ask           {http}/v1/overview   {http}/docs\n"
        f"  data          {data}\n"
        "Ctrl-C ends it."
    )
