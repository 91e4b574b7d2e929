"""Answers of any length to a file or to standard output, piece by piece. A file is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from jobtide.streams.errors import ConfigError

BINARY = ("parquet", "arrow")


def write(pieces: Iterator[bytes], out: Path | None, format_: str) -> None:
    """Raises ConfigError where it cannot be written, and what `pieces` raises; then there is no new file, and an old one is as it was."""
    if out is None:
        if format_ in BINARY and sys.stdout.isatty():
            raise ConfigError(f"{format_} is not for a terminal: name a file with --out, or send it on with a pipe")
        _to_stdout(pieces)
        return
    try:
        part, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error.strerror}") from None
    try:
        size = 0
        with os.fdopen(part, "wb") as file:
            for piece in pieces:
                file.write(piece)
                size += len(piece)
        Path(name).chmod(0o666 & ~_umask())  # mkstemp's own mode is for nobody else
        Path(name).replace(out)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    click.echo(f"{size:,} bytes in {out}".replace(",", " "), err=True)


def _to_stdout(pieces: Iterator[bytes]) -> None:
    stream = click.get_binary_stream("stdout")
    for piece in pieces:
        stream.write(piece)
    stream.flush()


def _umask() -> int:
    """Reading it is setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
