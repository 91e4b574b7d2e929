"""Flags of the asking commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

as_json = click.option("--json", "as_json", is_flag=True, help="The API's answer, as JSON.")
limit = click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Most rows.")
last = click.option("--last", help="How far back: 90s, 15m, 36h, 7d. 1m, 5m, 15m and 1h are live.")
_SELECTION = ("tenant", "environment", "system", "queue", "job_class")


def selection(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--tenant`, `--environment`, `--system`, `--queue`, `--class`; the command gets them by the API's names."""
    for name in reversed(_SELECTION):
        flag = "--class" if name == "job_class" else f"--{name}"
        command = click.option(flag, name, help=f"Only this {name.replace('_', ' ')}.")(command)
    return command
