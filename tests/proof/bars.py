"""All bars in one table: every proof of this folder, and the figures of tests/bench, one after the other.

    python -m tests.proof.bars [--full | --short] [--only NAME ...] [--list]

Each proof runs in a process of its own, so that none can spoil another, with its output shown as it comes. The table and
tests/proof/latest.json say for each bar what is required, what was measured, and whether it passes. Exit code 1 if one is missed.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.proof import report

HERE = Path(__file__).parent
LATEST = HERE / "latest.json"
LIMIT_S = {False: 1200, True: 7200}  # for one proof

# What each proof requires, for the table, where the proof does not say it itself.
PROOFS = {
    "d2_convergence": "identical in all orders, right by the oracle",
    "d9_percentiles": "within 1 % everywhere",
    "checkpoint_atomic": "a batch is whole or absent through SIGKILL",
    "d1_trace": "",
    "d1_backends": "",
    "d1_languages": "",
    "live_latency": "",
    "d11_stuck": "",
    "d16_history": "",
    "why_slow_causes": "",
    "d3_kills": "0 lost, 0 doubled, back ≤ 30 s",
    "d3_history": "0 lost, 0 doubled, back ≤ 30 s",
    "d3_api": "0 lost, 0 doubled, back ≤ 30 s",
    "d19_api": "0 failures of schemathesis, 0 rows leaked; 1 000 live clients ≤ 3 s behind, ≤ 400 MB",
    "d4_rebalance": "0 lost, 0 doubled, backlog cleared ≤ 60 s",
    "mutations": "the proof fails with each mutation",
    "up_kills": "exact after SIGKILL of children and of up",
    "d15_hot_path": "",
    "outage": "",
    "ends": "",
    "d10_waits": "",
    "d20_privacy": "",
    "alerts_kills": "the transitions of the oracle, whoever is killed",
    "notifier_kills": "each transition once and in order, 0 bad signatures",
    "d12_alert_latency": "p50 < 4 s, p99 < 8 s at 5 000 events/s",
    "d13_delivery": "each delivered; other endpoints' p99 < 5 s",
    "d14_replay": "replay: same ids, times, values; backtest: no difference that it does not list",
    "alert_speed": "≤ 50 % of a core",
    "random_series": "10 000 series, 0 laws broken, replay = same ids",
    "bench": "goal 100 000 events/s, floor 50 000; ratio ≥ 0.5; history ≥ 30 000/s; RSS ≤ 500 MB",
}
_PLUMBING = frozenset({"passes", "passed", "bar", "rows", "hashes", "seeds", "wrong", "required", "measured"})


def names() -> list[str]:
    """The proofs that exist, in the order of PROOFS; new ones of the folder, which have `run` and a command line, after them."""
    others = [path.stem for path in sorted(HERE.glob("*.py")) if path.stem not in PROOFS and _is_proof(path)]
    return [name for name in [*PROOFS, *others] if name == "bench" or (HERE / f"{name}.py").exists()]


def _is_proof(path: Path) -> bool:
    text = path.read_text()
    return path.stem != "bars" and "\ndef run(" in text and '__name__ == "__main__"' in text


def in_this_process(name: str, full: bool) -> report.Result:
    """Run one proof and give its result, whichever of the two forms of `run` it has."""
    if name == "bench":
        from tests.bench import run as bench

        return bench.as_bars(bench.run(full), full)
    module: Any = importlib.import_module(f"tests.proof.{name}")
    if len(inspect.signature(module.run).parameters) == 1:
        return dict(module.run(full))
    from tests.proof.command import own_servers

    with own_servers() as where:
        return dict(module.run(full, where))


def rows_of(name: str, found: report.Result) -> list[report.Result]:
    """A proof's rows for the table."""
    if found.get("rows") and all("measured" in each for each in found["rows"]):
        return list(found["rows"])
    figures = {key: value for key, value in found.items() if key not in _PLUMBING and not isinstance(value, dict) and value not in ([], "")}
    measured = ", ".join(f"{key} {f'{value:.4g}' if isinstance(value, float) else value}" for key, value in figures.items())
    passes = bool(found.get("passes", found.get("passed")))
    return [report.row(str(found.get("bar", name)), PROOFS.get(name, ""), measured, passes)]


def prove(name: str, full: bool) -> report.Result:
    """Run one proof in a process of its own: {"name", "passes", "seconds", "rows"}."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "result.json")
        argv = [sys.executable, "-u", "-m", "tests.proof.bars", "--one", name, "--into", str(out), "--full" if full else "--short"]
        try:
            code = subprocess.run(argv, timeout=LIMIT_S[full], check=False, env=_environment()).returncode
            reason = f"ended with exit code {code}: see above"
        except subprocess.TimeoutExpired:
            reason = f"not done after {LIMIT_S[full]} s"
        found = json.loads(out.read_bytes()) if out.exists() else {}
    seconds = time.monotonic() - begun
    rows = rows_of(name, found) if found else [report.row(name, PROOFS.get(name, ""), reason, False)]
    rows[0]["seconds"] = seconds
    return {"name": name, "passes": all(row["passes"] is not False for row in rows), "seconds": round(seconds, 1), "rows": rows, "details": found}


def _environment() -> dict[str, str]:
    """Without this shell's settings of jobtide; a proof's own processes get what the proof says."""
    return {name: text for name, text in os.environ.items() if not name.startswith("JOBTIDE_") or name.startswith("JOBTIDE_TEST_")}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the long forms, as the bars are written (about an hour)")
    parser.add_argument("--short", action="store_true", help="the short forms, as in CI (the default)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--into", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _one(options.one, options.full, Path(options.into))
        return
    known = names()
    if options.list:
        print("\n".join(known))
        return
    unknown = set(options.only or ()) - set(known)
    if unknown:
        parser.error(f"no proof is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    sys.exit(_all([name for name in known if not options.only or name in options.only], options.full))


def _one(name: str, full: bool, into: Path) -> None:
    found = in_this_process(name, full)
    for line in found.get("wrong", [])[:20]:
        print(f"  {line}")
    into.write_text(json.dumps(found, default=str))


def _all(chosen: list[str], full: bool) -> int:
    results = []
    for number, name in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {name}", flush=True)
        results.append(prove(name, full))
        print(f"[{number}/{len(chosen)}] {name}: {'pass' if results[-1]['passes'] else 'MISS'} in {results[-1]['seconds']:.0f} s", flush=True)
    rows = [row for result in results for row in result["rows"]]
    print("\n" + report.table(rows))
    missed = [result["name"] for result in results if not result["passes"]]
    print(f"\n{len(results) - len(missed)} of {len(results)} pass" + (f"; missed: {', '.join(missed)}" if missed else ""))
    _keep(results, full)
    return 1 if missed else 0


def _keep(results: list[report.Result], full: bool) -> None:
    """latest.json holds the newest result of every proof, also of those that were not run this time."""
    kept = json.loads(LATEST.read_bytes())["proofs"] if LATEST.exists() else {}
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for result in results:
        rows = [{key: value for key, value in row.items() if key != "wrong"} for row in result["rows"]]
        about = {"at": at, "form": "full" if full else "short", "machine": machine}
        kept[result["name"]] = about | {name: result[name] for name in ("passes", "seconds")} | {"rows": rows}
    LATEST.write_text(json.dumps({"proofs": dict(sorted(kept.items()))}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
