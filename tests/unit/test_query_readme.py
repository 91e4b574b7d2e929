"""The README's table of paths and its list of limits are those of the code."""

import re
from pathlib import Path

from jobtide.query.app import create_app
from jobtide.query.params import MAX_LIMIT
from jobtide.query.ranges import LIVE_WINDOWS
from jobtide.streams.settings import Settings, load, variable

README = (Path(__file__).parents[2] / "query" / "README.md").read_text("utf-8")
ROOT = Path(__file__).parents[2] / "query" / "jobtide" / "query"


def test_every_path_is_in_the_table_and_nothing_else() -> None:
    table = [line for line in README.splitlines() if line.startswith("| `/")]
    told = {path for line in table for path in re.findall(r"`(/[^`]+)`", line.split("|")[1])}
    assert told == set(create_app(load({})).openapi()["paths"])


def test_modules_windows_limits_and_settings_that_are_named_exist() -> None:
    names = re.search(r"tested without a server: (.*?)\. The models", README, re.S)
    assert names
    for module in re.findall(r"`(\w+)`", names[1]):
        assert (ROOT / f"{module}.py").exists(), module
    assert f"last={'|'.join(LIVE_WINDOWS.values())}" in README
    assert f"{MAX_LIMIT:,}".replace(",", " ") in README
    for name in re.findall(r"JOBTIDE_\w+", README):
        assert name in {variable(field) for field in Settings.__dataclass_fields__}
