"""The API's answers beside what they should be: asks over HTTP, follows cursors, says every difference.

Imports nothing of jobtide. What is right comes from `recount`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.proof.recount import COUNTED, QUANTILES, Series, Total, percentiles

PERCENT = 0.01
ROUNDING_MS = 0.002  # values are whole µs


class Api:
    """A jobtide's HTTP port."""

    def __init__(self, port: int) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def get(self, path: str, **parameters: Any) -> dict[str, Any]:
        """A JSON answer; AssertionError for anything but 200."""
        reply = self._client.get(path, params=_named(parameters))
        assert reply.status_code == 200, f"{reply.url}: {reply.status_code} {reply.text}"
        return dict(reply.json())

    def pages(self, path: str, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Every page of a list."""
        page = self.get(path, limit=1000, **parameters)
        yield page
        while page["next_cursor"]:
            page = self.get(path, limit=1000, cursor=page["next_cursor"], **parameters)
            yield page

    def items(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Every item of a list."""
        return [item for page in self.pages(path, **parameters) for item in page["items"]]

    def classes(self, **parameters: Any) -> tuple[dict[str, Any], dict[Series, dict[str, Any]]]:
        """(first page's envelope, row by series) of /v1/classes."""
        pages = list(self.pages("/v1/classes", **parameters))
        rows = (row for page in pages for row in page["items"])
        return pages[0], {(row["system"], row["queue"], row["job_class"]): row for row in rows}


def _named(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name.rstrip("_"): value for name, value in parameters.items()}


@dataclass
class Comparison:
    """What differs, and how far percentiles are off at most."""

    wrong: list[str] = field(default_factory=list)
    compared: int = 0
    worst_wait: float = 0.0  # relative
    worst_run: float = 0.0
    worst_wait_ms: float = 0.0  # absolute
    worst_run_ms: float = 0.0

    def equal(self, what: str, expected: Any, found: Any) -> None:
        self.compared += 1
        if expected != found:
            self.wrong.append(f"{what}: expected {expected}, answered {found}")

    def counts(self, expected: Mapping[Series, Total], found: Mapping[Series, dict[str, Any]], what: str) -> None:
        """The same series, and each count exactly."""
        found = {series: row for series, row in found.items() if any(row[name] for name in COUNTED)}
        self.equal(f"{what} series", sorted(expected), sorted(found))
        for series in expected.keys() & found.keys():
            total, row = expected[series], found[series]
            for name in COUNTED:
                self.equal(f"{what} {series} {name}", total.counts[name], row[name])
            self.equal(f"{what} {series} waits", len(total.waits), row["wait_ms"]["count"])
            self.equal(f"{what} {series} runs", len(total.runs), row["run_ms"]["count"])

    def classes(self, expected: Mapping[Series, Total], found: Mapping[Series, dict[str, Any]], what: str) -> None:
        """Counts exactly, percentiles within 1 %."""
        self.counts(expected, found, what)
        for series in expected.keys() & found.keys():
            self._stats(f"{what} {series} wait", expected[series].waits, found[series]["wait_ms"], "wait")
            self._stats(f"{what} {series} run", expected[series].runs, found[series]["run_ms"], "run")

    def _stats(self, what: str, values: list[int], stats: Mapping[str, Any], kind: str) -> None:
        right = percentiles(values)
        for name in QUANTILES:
            self.percentile(f"{what} {name}", right.get(name), stats[name], kind=kind)

    def percentile(self, what: str, right_us: int | None, found_ms: float | None, slack_ms: float = 0, kind: str = "wait") -> None:
        """One percentile."""
        self.compared += 1
        if right_us is None or found_ms is None:
            if right_us is not found_ms:
                self.wrong.append(f"{what}: expected {right_us} µs, answered {found_ms} ms")
            return
        right_ms = right_us / 1000
        off_ms = abs(found_ms - right_ms)
        if off_ms > max(PERCENT * right_ms, slack_ms) + ROUNDING_MS:
            self.wrong.append(f"{what}: expected {right_ms} ms, answered {found_ms} ms")
        relative = off_ms / right_ms if off_ms > ROUNDING_MS and right_ms else 0.0
        setattr(self, f"worst_{kind}", max(getattr(self, f"worst_{kind}"), relative))
        setattr(self, f"worst_{kind}_ms", max(getattr(self, f"worst_{kind}_ms"), off_ms))


def sums(rows: Iterable[Mapping[str, Any]]) -> int:
    """Everything that was counted in some rows."""
    return sum(row[name] for row in rows for name in COUNTED)


def wait_for(done: Callable[[], bool], deadline_s: float, every_s: float = 0.5) -> bool:
    """Poll until it is so; False after `deadline_s`."""
    limit = time.monotonic() + deadline_s
    while not done():
        if time.monotonic() > limit:
            return False
        time.sleep(every_s)
    return True
