"""Flags that several commands share, and what every long-running command does first: read settings, set up logs."""

from __future__ import annotations

import os
from typing import Any

import click
from jobtide.streams.settings import Settings, load

http_port = click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (JOBTIDE_HTTP_PORT, 8321).")
everywhere = click.option(
    "--listen-everywhere",
    is_flag=True,
    help="Allow JOBTIDE_HTTP_HOST=0.0.0.0. Only inside a container whose port is published to loopback: "
    "there are no API keys yet.",
)


def start(**overrides: Any) -> Settings:
    """The settings of a process that will run for long, with its logs configured."""
    from jobtide.streams import logs

    settings = load(os.environ, **overrides)
    logs.configure(settings.log_level)
    return settings
