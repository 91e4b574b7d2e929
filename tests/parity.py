"""The table of what the emitters of the three languages tell, made from the results of their own tests: `emitters/PARITY.md`.

`python -m tests.parity` runs those tests and writes the file; `tests/e2e/test_parity.py` fails when it is stale. Not a judge:
each language's test plays the contract's vectors and writes LANG.json, {backend: {vector: "pass" | "fail"}}, into
JOBTIDE_PARITY_DIR; a capability passes where its tests end without a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EMITTERS = ROOT / "emitters"
PARITY = EMITTERS / "PARITY.md"
VECTORS = EMITTERS / "contract" / "vectors" / "mappings"
LANGUAGES = ("python", "ruby", "node")
MAPPING_TESTS = {"python": "test_mapping_vectors.py", "ruby": "mapping_test.rb", "node": "mappings.test.mjs"}
JOB_TYPES = ("enqueued", "scheduled", "started", "progress", "finished", "failed", "retry_scheduled", "dead", "discarded", "cancelled")
QUEUE_TYPES = ("paused", "resumed")
DEADLINE_S = 300


@dataclass(frozen=True)
class Capability:
    """Something that every emitter must do, and the test file of each language that shows it."""

    what: str
    python: str
    ruby: str
    node: str


CAPABILITIES = (
    Capability(
        "lanes and sequence numbers by the golden vectors; heartbeats dropped first, ends last",
        "test_golden.py", "golden_test.rb", "golden.test.mjs",
    ),
    Capability(
        "errors and arguments masked, fingerprints, by the golden vectors",
        "test_masking.py", "masking_test.rb", "masking.test.mjs",
    ),
    Capability(
        "names, sizes and errors inside the contract's limits",
        "test_bounds.py", "bounds_test.rb", "core.test.mjs",
    ),
    Capability(
        "every event, clean ends, both off switches",
        "test_emitter.py", "emitter_test.rb", "core.test.mjs",
    ),
    Capability(
        "HTTP: 429 and 503 tried again, 4xx counted; spool on disk, torn ends, orphans",
        "test_http.py test_spool.py", "http_test.rb spool_test.rb", "delivery.test.mjs",
    ),
)  # fmt: skip

# How each backend is tested: real workers of a version, or stand-ins of its documented interface where nothing in CI packages it.
EVIDENCE = (
    ("Sidekiq", "Ruby", "real workers, 6.4 and 7.3"),
    ("ActiveJob", "Ruby", "real workers on Sidekiq and DelayedJob, 6.1 and 7.2"),
    ("DelayedJob", "Ruby", "real workers, 4.1"),
    ("Resque", "Ruby", "a stand-in that really forks, exits and is killed"),
    ("GoodJob, Solid Queue, Shoryuken, Sneakers, Karafka", "Ruby", "stand-ins of their documented interface"),
    ("BullMQ", "Node", "real workers, 6.7"),
    ("Bull", "Node", "real workers, 4.16"),
    ("Bee-Queue", "Node", "real workers, 2.0"),
    ("pg-boss", "Node", "real workers, 10.4"),
    ("Agenda", "Node", "real workers on PostgreSQL, 6.2"),
    ("Celery", "Python", "real workers, 5.7"),
    ("RQ", "Python", "real workers, 3.0"),
    ("Dramatiq", "Python", "real workers, 2.2"),
    ("Huey", "Python", "real workers, 3.5"),
    ("arq", "Python", "real workers, 0.28"),
    ("taskiq", "Python", "real workers, 0.13"),
    ("procrastinate", "Python", "real workers on PostgreSQL, 3.10"),
    ("curl, `jobtide emit`, plain PHP", "any", "run against a real gateway"),
    ("Laravel, Glueful", "PHP", "stand-ins that fire their events in the real workers' order"),
)

Results = dict[str, dict[str, dict[str, str]]]  # language, backend, vector


def command(language: str, files: str) -> tuple[list[str], Path]:
    """How a language runs some of its emitter's test files, and where."""
    folder = EMITTERS / language
    names = files.split()
    if language == "python":
        return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in names)], folder
    if language == "ruby":
        return ["ruby", "-Ilib", "-Itest", "-e", "ARGV.each { |name| require name }", *(f"./test/{name}" for name in names)], folder
    return ["node", "--test", *(f"test/{name}" for name in names)], folder


def run(language: str, files: str, into: Path) -> str:
    """Empty if the tests passed, else the end of what they said."""
    argv, folder = command(language, files)
    env = {name: value for name, value in os.environ.items() if not name.startswith("JOBTIDE_")} | {"JOBTIDE_PARITY_DIR": str(into)}
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    return "" if done.returncode == 0 else f"{language} {files}:\n{(done.stdout + done.stderr)[-3000:]}"


def measured() -> tuple[Results, dict[str, dict[str, bool]], list[str]]:
    """(vectors by language, capabilities by language, what failed), by running the tests of all three."""
    results: Results = {}
    shown: dict[str, dict[str, bool]] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(len(LANGUAGES)) as pool:
        for language, (mapping_said, said) in zip(LANGUAGES, pool.map(lambda name: _runs(name, Path(directory)), LANGUAGES), strict=True):
            results[language] = json.loads((Path(directory) / f"{language}.json").read_bytes())
            failures += filter(None, [mapping_said, *said.values()])
            for what, text in said.items():
                shown.setdefault(what, {})[language] = text == ""
    return results, shown, failures


def _runs(language: str, into: Path) -> tuple[str, dict[str, str]]:
    mapping_said = run(language, MAPPING_TESTS[language], into)
    return mapping_said, {capability.what: run(language, getattr(capability, language), into) for capability in CAPABILITIES}


def vectors() -> dict[str, list[dict[str, Any]]]:
    """The golden set: backend -> its mappings."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(VECTORS.glob("*.json"))}


def rendered(results: Results, shown: dict[str, dict[str, bool]], golden: dict[str, list[dict[str, Any]]]) -> str:
    """The file's text."""
    lines = [
        "# What the emitters tell, by language",
        "",
        "<!-- Written by `python -m tests.parity` from the results of each language's own tests; stale is a failing test. -->",
        "",
        "One golden set of vectors (`contract/vectors/mappings`): what a backend's hooks are handed, and exactly which events follow.",
        "✓ = the vectors with that event pass; ✗ = one fails; — = none says it. Workers, heartbeats, snapshots and statistics have timers of",
        "their own and are tested on real workers, as are the backends that are not in this table.",
        "",
        "| backend | language | vectors | " + " | ".join((*JOB_TYPES, *QUEUE_TYPES)) + " |",
        "|---|---|---|" + "---|" * (len(JOB_TYPES) + len(QUEUE_TYPES)),
    ]
    for backend, mappings in golden.items():
        for language in LANGUAGES:
            if backend in results[language]:
                lines.append(_row(backend, language, mappings, results[language][backend]))
    lines += ["", "| in every language | Python | Ruby | Node |", "|---|---|---|---|"]
    for capability in CAPABILITIES:
        cells = [f"{'✓' if shown[capability.what][language] else '✗'} {_names(getattr(capability, language))}" for language in LANGUAGES]
        lines.append(f"| {capability.what} | {' | '.join(cells)} |")
    lines += ["", "| backend | language | how it is tested |", "|---|---|---|"]
    lines += [f"| {backend} | {language} | {how} |" for backend, language, how in EVIDENCE]
    return "\n".join(lines) + "\n"


def _names(files: str) -> str:
    return ", ".join(f"`{name}`" for name in files.split())


def _row(backend: str, language: str, mappings: list[dict[str, Any]], of: dict[str, str]) -> str:
    passed = sum(of.get(mapping["name"]) == "pass" for mapping in mappings)
    cells = []
    for kind in (*(f"job.{name}.v1" for name in JOB_TYPES), *(f"queue.{name}.v1" for name in QUEUE_TYPES)):
        saying = [mapping["name"] for mapping in mappings if any(event["type"] == kind for event in mapping["events"])]
        cells.append("—" if not saying else "✓" if all(of.get(name) == "pass" for name in saying) else "✗")
    return f"| {backend} | {language} | {passed} of {len(mappings)} | {' | '.join(cells)} |"


def main() -> None:
    results, shown, failures = measured()
    PARITY.write_text(rendered(results, shown, vectors()))
    print("\n".join([*failures, f"{PARITY.relative_to(ROOT)} is written"]))
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
