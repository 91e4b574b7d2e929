"""Compiles the hot path (`jobtide.streams.compiled.MODULES`) with mypyc, into a folder named by the checksum of the sources.

    .venv/bin/python .ci/compile.py        for this checkout; `make setup` does it. Says in one line which form runs from now on

Without a C compiler nothing breaks: the same modules run as plain Python. As a hatch build hook, off by default, it puts the compiled form
into a wheel for this platform: `HATCH_BUILD_HOOK_ENABLE_CUSTOM=true pip wheel .`
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STREAMS = ROOT / "streams" / "jobtide" / "streams"

BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import Distribution
target, library, *paths = sys.argv[1:]
modules = mypycify(paths, target_dir=target + "/c", group_name=library, opt_level="3", debug_level="0")
command = Distribution({"name": "jobtide", "ext_modules": modules}).get_command_obj("build_ext")
command.build_lib, command.build_temp, command.parallel = target + "/lib", target + "/o", 2
command.ensure_finalized()
command.run()
"""


def _compiled() -> ModuleType:
    """`jobtide.streams.compiled` of this checkout, without importing jobtide."""
    spec = importlib.util.spec_from_file_location("compiled", STREAMS / "compiled.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build() -> tuple[bool, str]:
    """(is compiled, one line about it). Compiles if the sources have changed."""
    compiled = _compiled()
    folder: Path = compiled.folder()
    if folder.exists():
        return True, "the hot path is compiled"
    with tempfile.TemporaryDirectory() as target:
        paths = [str((STREAMS / name.replace(".", "/")).with_suffix(".py")) for name in compiled.MODULES]
        environ = {**os.environ, "JOBTIDE_PURE": "1", "MYPY_CACHE_DIR": f"{target}/mypy"}
        ran = subprocess.run(
            [sys.executable, "-c", BUILD, target, compiled.LIBRARY.removesuffix("__mypyc"), "--config-file", str(ROOT / "pyproject.toml"), *paths],
            cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ran.returncode:
            lines = (ran.stdout + ran.stderr).strip().splitlines() or ["?"]
            errors = [line for line in lines if "error" in line.lower()]
            return False, f"the hot path runs as plain Python (same results, slower): it could not be compiled: {(errors or lines)[-1].strip()}"
        unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")  # the name is the proof: it appears with everything in it
        shutil.copytree(Path(target, "lib"), unfinished)
        try:
            unfinished.rename(folder)
        except OSError:  # another setup was faster
            shutil.rmtree(unfinished, ignore_errors=True)
        for old in folder.parent.iterdir():
            if old != folder and old.suffix == folder.suffix and not old.name.startswith("."):  # other Pythons keep theirs
                shutil.rmtree(old, ignore_errors=True)
    return True, "the hot path has been compiled"


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    pass
else:

    class CompileHook(BuildHookInterface[Any]):
        """Puts the compiled form into the wheel. Fails if it cannot be compiled: whoever asks for it wants it."""

        def dependencies(self) -> list[str]:
            return ["mypy", "setuptools", "msgspec", "mypy_extensions"]

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            done, about = build()
            if not done:
                raise RuntimeError(about)
            folder: Path = _compiled().folder()
            build_data["force_include"][str(folder)] = f"jobtide/streams/_compiled/{folder.name}"
            build_data["pure_python"] = False
            build_data["infer_tag"] = True


if __name__ == "__main__":
    print(f"setup: {build()[1]}", file=sys.stderr)
