"""The shape of the repository that the namespace package depends on."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_init_file_in_the_namespace() -> None:
    """One stray `__init__.py` there would make every other layer vanish from the import path."""
    assert not [str(p) for layer in ("streams", "sinks", "query", "cli", "emitters/gateway") for p in (ROOT / layer / "jobtide").glob("__init__.py")]


def test_dependencies_give_their_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().split("\ndependencies = [\n", 1)[1].split("\n]", 1)[0].splitlines()
    assert len(lines) > 5
    assert not [line for line in lines if '"' in line and "#" not in line]
