"""How a proof says what it found: rows of (bar, required, measured, passes), a table of them, and the command line of a proof module."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

Result = dict[str, Any]


def row(bar: str, required: str, measured: str, passes: bool | None, **details: Any) -> Result:
    """One line of the table. `passes` None: it was not run, and `measured` says why."""
    return {"bar": bar, "required": required, "measured": measured, "passes": passes, **details}


def result(bar: str, rows: Iterable[Result], **details: Any) -> Result:
    """A proof's result from its rows: it passes when all that were run do."""
    found = list(rows)
    passes = all(found_row["passes"] is not False for found_row in found)
    return {"bar": bar, "passes": passes, "rows": found, **details}


def skipped(bar: str, reason: str) -> Result:
    return result(bar, [row(bar, "", f"not run: {reason}", None)])


def rows_of(found: Result) -> list[Result]:
    """The rows of any proof's result; one made of what it says where it has none."""
    if "rows" in found and all("measured" in each for each in found["rows"]):
        return list(found["rows"])
    plain = {name: value for name, value in found.items() if name not in ("bar", "passes", "rows", "hashes", "required", "measured", "seeds")}
    measured = found.get("measured") or ", ".join(f"{name} {_short(value)}" for name, value in plain.items() if not isinstance(value, dict | list))
    return [row(found["bar"], str(found.get("required", "")), str(measured), found["passes"])]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def table(rows: Iterable[Result]) -> str:
    """Aligned columns: bar, required, measured, pass or miss, seconds."""
    words = {True: "pass", False: "MISS", None: "not run"}
    cells = [("bar", "required", "measured", "result", "s")]
    for each in rows:
        seconds = f"{each['seconds']:.0f}" if "seconds" in each else ""
        cells.append((each["bar"], each["required"], each["measured"], words[each["passes"]], seconds))
    widths = [min(70, max(len(line[column]) for line in cells)) for column in range(5)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells)


def main(run: Callable[[bool], Result]) -> None:
    """The command line of a proof module: `[--full]`, the table, what differs; exit code 1 if the bar is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="the long form")
    begun = time.monotonic()
    found = run(parser.parse_args().full)
    print(table(rows_of(found)))
    for line in found.get("wrong", [])[:40]:
        print("  " + line)
    print(f"{found['bar']}: {'pass' if found['passes'] else 'MISS'} in {time.monotonic() - begun:.0f} s")
    sys.exit(0 if found["passes"] else 1)
