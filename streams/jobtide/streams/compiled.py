"""Which form of the hot path this process runs: compiled by mypyc, or the same modules as plain Python.

`make setup` compiles the modules named here where there is a C compiler, into a folder beside this file whose name is the checksum of their
sources. The packages put that folder first in their path (`path`), so an edited source finds no folder and runs as plain Python until it is
compiled again: what runs is always what the sources say. Both forms give the same results; the tests run with both.
`JOBTIDE_PURE=1` forces plain Python. Not here: the compiling itself (`.ci/compile.py`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

# Modules that define msgspec structs stay interpreted (mypyc cannot compile those), and so does what runs rarely.
MODULES = (
    "events.time", "events.names", "events.placement", "events.decode", "events.jobs",
    "sketches.histogram",
    "folds.facts", "folds.attempts", "folds.sequences", "folds.identities", "folds.cells", "folds.series", "folds.memory",
    "folds.lifecycle", "folds.source", "folds.sums", "folds.publication", "folds.saving",
)  # fmt: skip
# What the compiled code was made from: interpreted modules of these folders, too, since types and constants of theirs are built in.
SOURCES = ("errors.py", "compiled.py", "events", "sketches", "folds")
LIBRARY = "jobtide__mypyc"
PURE = os.environ.get("JOBTIDE_PURE", "0") not in ("", "0")

_HERE = Path(__file__).parent


def folder() -> Path:
    """Where the compiled form of exactly these sources is, for this Python, if there is one."""
    digest = hashlib.blake2b(digest_size=8)
    for source in SOURCES:
        for file in sorted((_HERE / source).glob("*.py")) if (_HERE / source).is_dir() else [_HERE / source]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return _HERE / "_compiled" / f"{digest.hexdigest()}{sysconfig.get_config_var('EXT_SUFFIX').rpartition('.')[0]}"


def path(package: str, pure: list[str]) -> list[str]:
    """The `__path__` of a package: first the folder of its compiled modules, where they are to be used."""
    return pure if active is None else [str(active.joinpath(*package.split("."))), *pure]


def _activate() -> Path | None:
    if PURE:
        return None
    found = folder()
    library = found / f"{LIBRARY}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not library.exists():
        return None
    spec = importlib.util.spec_from_file_location(LIBRARY, library)
    if spec is None or spec.loader is None:
        return None
    module = sys.modules[LIBRARY] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return found


active = _activate()  # the folder in use; None: plain Python


def form() -> str:
    """In words, for logs and reports."""
    return "plain Python" if active is None else "compiled"
