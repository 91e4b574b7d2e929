"""The history's questions: the text of `sql/*.sql`, one file per question, read once.

No SQL is built from what a client says: values are bound parameters (`{name:Type}`). `{{name}}` puts another file in
its place, for the part that several questions share.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_SHARED = re.compile(r"\{\{(\w+)\}\}")


@cache
def question(name: str) -> str:
    """The SQL of `sql/<name>.sql`, complete."""
    text = resources.files("jobtide.query").joinpath("sql", f"{name}.sql").read_text("utf-8")
    return _SHARED.sub(lambda match: question(match[1]), text)
