"""Puts pictures on a terminal, or plain where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click
from jobtide.cli.ask.pictures import GAP, Picture
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 200


def drawn(picture: Picture, width: int) -> Group:
    """The picture for rich, on a terminal of `width` characters. Texts are texts: nothing in them is markup."""
    picture = picture.fitted(width)
    parts: list[Any] = [Text(line, style="bold" if line.startswith("!") else "") for line in picture.above]
    if picture.rows:
        table = Table(header_style="bold", box=None, pad_edge=False, padding=(0, GAP, 0, 0))
        for name in picture.headings:
            table.add_column(Text(name), justify="right" if name in picture.numbers else "left", no_wrap=True)
        for row in picture.rows:
            table.add_row(*(Text(cell) for cell in row))
        parts.append(table)
    return Group(*parts, *(Text(line) for line in picture.below))


def show(answer: Any, pictures: Iterable[Picture], as_json: bool) -> None:
    """The answer as JSON, or its pictures."""
    if as_json:
        click.echo(json.dumps(answer, indent=1, ensure_ascii=False))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    for picture in pictures:
        console.print(drawn(picture, console.width))
