"""Flags that several commands share, and what every long-running command does first: read settings, set up logs."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from jobtide.cli.up.data import DEFAULT, read_addresses
from jobtide.streams.settings import Settings, load

http_port = click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (JOBTIDE_HTTP_PORT, 8321).")

_url = click.option("--url", help="Address of the running jobtide.  [default: of the `up` on --data, else port 8321]")
_key = click.option("--key", envvar="JOBTIDE_KEY", help="API key, where the jobtide asks for one (JOBTIDE_KEY, which no process list shows).")
_data = click.option("--data", type=click.Path(path_type=Path), default=DEFAULT, show_default=True, help="Directory of that `up`.")


def target(command: Callable[..., None]) -> Callable[..., None]:
    """Adds `--url`, `--key` and `--data`; the command gets one `url`: the given, or that of the `up` there, or the default."""

    @functools.wraps(command)
    def with_url(*args: Any, url: str | None, key: str | None, data: Path, **kwargs: Any) -> None:
        if key:
            os.environ["JOBTIDE_KEY"] = key  # `identity` sends it
        if url is None:
            settings = load(os.environ)
            url = read_addresses(data).get("http", f"http://{settings.http_host}:{settings.http_port}")
        command(*args, url=url, **kwargs)

    return _url(_key(_data(with_url)))


def start(**overrides: Any) -> Settings:
    """The settings of a process that will run for long, with its logs configured."""
    from jobtide.streams import logs

    settings = load(os.environ, **overrides)
    logs.configure(settings.log_level)
    return settings
