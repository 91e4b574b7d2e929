"""The history's questions: the text of `sql/*.sql`, one file per question, read once.

No SQL is built from what a client says: values are bound parameters (`{name:Type}`). `{{name}}` puts another file in
its place, for a part that several questions share; `{{counted}}` stands for the rows to be summed, which come from
hour and minute rollups and from single attempts.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

Counted = tuple[str, ...]  # which of the rows below are to be summed
ALL_COUNTED: Counted = ("hours", "minutes", "attempts")

_SHARED = re.compile(r"\{\{(\w+)\}\}")


@cache
def question(name: str, counted: Counted = ALL_COUNTED) -> str:
    """The SQL of `sql/<name>.sql`, complete."""
    text = resources.files("jobtide.query").joinpath("sql", f"{name}.sql").read_text("utf-8")
    rows = f"({' UNION ALL '.join(f'{{{{{part}}}}}' for part in counted)})"
    return _SHARED.sub(lambda match: question(match[1]), text.replace("{{counted}}", rows))
