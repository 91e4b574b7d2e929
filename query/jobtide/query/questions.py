"""The history's questions: the text of `sql/*.sql`, one file per question, read once.

No SQL is built from what a client says: values are bound parameters (`{name:Type}`). `{{name}}` puts another file in
its place, for a part that several questions share; `{{counted}}` stands for the rows to be summed, which come from
minute rollups, from single attempts, or from both.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Literal

Counted = Literal["minutes", "attempts", "both"]

_SHARED = re.compile(r"\{\{(\w+)\}\}")
_COUNTED = {
    "minutes": "({{minutes}})",
    "attempts": "({{attempts}})",
    "both": "({{minutes}} UNION ALL {{attempts}})",
}


@cache
def question(name: str, counted: Counted = "both") -> str:
    """The SQL of `sql/<name>.sql`, complete."""
    text = resources.files("jobtide.query").joinpath("sql", f"{name}.sql").read_text("utf-8")
    return _SHARED.sub(lambda match: question(match[1]), text.replace("{{counted}}", _COUNTED[counted]))
