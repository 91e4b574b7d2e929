"""All benches in one go: each makes its own input, runs the real thing, and its figures go into a table and tests/bench/latest.json.

    python -m tests.bench.run [--short] [--only NAME ...]

Not a judge: `tests.proof.bars` says which figures pass.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.proof import report

LATEST = Path(__file__).parent / "latest.json"

# figure: (required as the bar says it, test of the long form, test of the short form, which only finds what is broken)
BARS: dict[str, tuple[str, Callable[[float], bool], Callable[[float], bool]]] = {
    "stage1_events_per_s": ("goal 100 000/s, floor 50 000/s", lambda v: v >= 50_000, lambda v: v >= 10_000),
    "stage1_ratio_to_raw": ("goal 0.5 of raw aiokafka + orjson", lambda v: v >= 0.5, lambda v: v >= 0.1),
    "stage1_rss_mb": ("≤ 500 MB at 100 000 attempts in flight", lambda v: v <= 500, lambda v: v <= 1000),
    "history_rows_per_s": ("≥ 30 000/s with rollups", lambda v: v >= 30_000, lambda v: v >= 5_000),
}


def _stage1(full: bool) -> dict[str, Any]:
    from tests.bench import stage1

    return dict(stage1.run(60.0 if full else 4.0))


def _history(full: bool) -> dict[str, Any]:
    return dict(importlib.import_module("tests.bench.bench_history").run(full))


def _live(full: bool) -> dict[str, Any]:
    from tests.proof import live_latency

    found = live_latency.run(full)
    return {"live_p99_s": found["live_p99_s"], "live_p50_s": found["p50_s"], "live_max_s": found["max_s"], "live_events_per_s": found["per_s"]}


BENCHES: dict[str, Callable[[bool], dict[str, Any]]] = {"stage1": _stage1, "history": _history, "live": _live}


def run(full: bool, only: tuple[str, ...] = ("stage1", "history")) -> dict[str, Any]:
    """The figures of some benches; they are kept in latest.json beside the newest of the others."""
    figures: dict[str, Any] = {}
    for name in only:
        print(f"bench {name} …", flush=True)
        figures |= BENCHES[name](full)
    keep(figures, full)
    return figures


def keep(figures: dict[str, Any], full: bool) -> None:
    kept = json.loads(LATEST.read_bytes()) if LATEST.exists() else {}
    about = {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "form": "full" if full else "short",
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }  # fmt: skip
    LATEST.write_text(json.dumps({**kept, **figures, **about}, indent=1) + "\n")


def as_bars(figures: dict[str, Any], full: bool) -> report.Result:
    """The figures beside what is required of them."""
    rows = []
    for name, (required, long, short) in BARS.items():
        if name in figures:
            rows.append(report.row(name, required, f"{figures[name]:,}", (long if full else short)(figures[name])))
    return report.result("bench", rows, figures=figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--only", action="append", choices=sorted(BENCHES), help="only this one; may be repeated")
    options = parser.parse_args()
    figures = run(not options.short, tuple(options.only or BENCHES))
    print()
    for name, value in figures.items():
        print(f"{name:28} {value:>14,}" if isinstance(value, int | float) else f"{name:28} {value}")
    print(f"\nkept in {LATEST}")
    sys.exit(0)


if __name__ == "__main__":
    main()
