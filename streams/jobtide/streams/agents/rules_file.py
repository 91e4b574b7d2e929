"""The rule file of a worker: read at start, looked at again every second, and replaced only by one that is right.

A file with a mistake at start is refused with the process; later it keeps the rules that run, and what is wrong is logged once, counted
and told to the API (`status`).
"""

from __future__ import annotations

import logging
from pathlib import Path

from jobtide.streams.alerts.loading import DEFAULT_NAME, RulesError, RuleSet, default_text, load_rules
from jobtide.streams.errors import ConfigError
from prometheus_client import Gauge

log = logging.getLogger(__name__)
FILE_OK = Gauge("jobtide_rules_file_ok", "1 if the rule file is right; 0 while an older state of it is in use because of a mistake.")
RULES = Gauge("jobtide_rules", "Alert rules in use.")


class RulesFile:
    """`path` empty: the default rules. `current`: what is in use; `problems`: why the file is not."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._seen: tuple[int, int] | None = None
        self.problems: list[str] = []
        try:
            self.current = self._read()
        except RulesError as error:
            raise ConfigError(f"JOBTIDE_RULES: {'; '.join(error.problems)}") from None
        FILE_OK.set(1)
        RULES.set(len(self.current.rules))

    def _read(self) -> RuleSet:
        if self._path is None:
            return load_rules(default_text(), DEFAULT_NAME)
        try:
            stat = self._path.stat()
            self._seen = (stat.st_mtime_ns, stat.st_size)
            return load_rules(self._path.read_text("utf-8"), str(self._path))
        except (OSError, UnicodeDecodeError) as error:
            raise RulesError([f"{self._path}: cannot be read ({error}); name a readable file in JOBTIDE_RULES"]) from None

    def changed(self) -> bool:
        """Look at the file. True if other rules are in use now, or if what is wrong with it is news."""
        if self._path is None:
            return False
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_size) == self._seen:
                return False
        except OSError:
            self._seen = None  # gone: say so, once
        before, problems = self.current, self.problems
        try:
            self.current, self.problems = self._read(), []
        except RulesError as error:
            self.problems = error.problems
        if self.problems != problems:
            for problem in self.problems:
                log.error("rule file not used, the rules from before stay: %s", problem)
        if self.current.digest != before.digest:
            log.info("rule file read again: %d rules", len(self.current.rules))
        FILE_OK.set(0 if self.problems else 1)
        RULES.set(len(self.current.rules))
        return self.current.digest != before.digest or self.problems != problems

    def status(self) -> dict[str, object]:
        return {"file": self.current.file, "digest": self.current.digest, "rules": len(self.current.rules), "problems": self.problems}
