"""The compiled form of the hot path: it is there in CI, it never outlives an edit, and it writes what plain Python writes."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from jobtide.streams import compiled

STREAMS = Path(compiled.__file__).parent

PRINT_OUTPUT = """
import hashlib
from jobtide.streams import compiled
from jobtide.streams.folds import source
from jobtide.streams.folds.publication import Publisher
from jobtide.streams.folds.saving import save
from tests.bench.fold import batches
digest, folds = hashlib.sha256(), {}
for partition, offsets, appends_us, values in batches(6_000):
    fold = folds.setdefault(partition, source.SourceFold(partition, 8))
    fold.fold(offsets, appends_us, values)
    digest.update(repr(Publisher(fold).collect("active")).encode())
    digest.update(repr(save(fold)).encode())
    digest.update(repr(fold.read()).encode())
print(compiled.form(), source.__file__.rpartition(".")[2], digest.hexdigest())
"""


def output(**environ: str) -> list[str]:
    """(form, suffix of the module's file, digest of everything written) of a fresh process."""
    run = subprocess.run(
        [sys.executable, "-c", PRINT_OUTPUT], env={**os.environ, **environ}, cwd=STREAMS.parents[2], capture_output=True, text=True, check=True
    )
    return run.stdout.rsplit(maxsplit=2) if run.stdout.startswith("plain") else run.stdout.split()


def test_both_forms_write_the_same() -> None:
    pure = output(JOBTIDE_PURE="1")
    either = output(JOBTIDE_PURE="0")
    assert pure[:2] == ["plain Python", "py"]
    assert either[:2] == (["compiled", "so"] if compiled.active or (compiled.PURE and compiled.folder().exists()) else pure[:2])
    assert either[2] == pure[2]


def test_ci_runs_the_compiled_form() -> None:
    assert compiled.active or compiled.PURE or not os.environ.get("CI"), "see what `.ci/compile.py` says"


@pytest.mark.parametrize("edited", ["folds/lifecycle.py", "folds/facts.py", "events/decode.py", "sketches/histogram.py", "errors.py", "compiled.py"])
def test_an_edited_source_is_not_shadowed_by_its_compiled_form(edited: str, tmp_path: Path) -> None:
    shutil.copytree(STREAMS, tmp_path / "streams", ignore=shutil.ignore_patterns("_compiled", "__pycache__"))
    spec = importlib.util.spec_from_file_location("copy", tmp_path / "streams" / "compiled.py")
    assert spec is not None and spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    before = copy.folder()
    assert before.name == compiled.folder().name, "the same sources have the same name anywhere"
    with (tmp_path / "streams" / edited).open("a") as file:
        file.write("# edited\n")
    assert copy.folder() != before


def test_every_module_to_compile_is_there() -> None:
    assert not [name for name in compiled.MODULES if not (STREAMS / (name.replace(".", "/") + ".py")).exists()]
