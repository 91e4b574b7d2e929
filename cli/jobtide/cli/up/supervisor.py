"""Starts the stages of a plan in order, keeps every process running, stops them in reverse. One thread, no children's
data.

Not a judge of health: a process that runs is left alone, one that ended is started again (`backoff`). A part that
refuses its settings while starting (exit code 2) ends `up` with its sentence.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from jobtide.cli.embedded.process import trim
from jobtide.cli.up.backoff import Backoff
from jobtide.cli.up.plan import Part, Plan
from jobtide.streams.errors import ConfigError

_TICK_S = 0.1
_TRIM_EVERY_S = 30.0
_START_CRASHES = 5
_CONFIG_EXIT = 2


class Stopped(Exception):
    """Asked to stop while starting."""


@dataclass
class _Watched:
    part: Part
    backoff: Backoff = field(default_factory=Backoff)
    started_at: float = 0.0
    restart_at: float | None = None

    @property
    def name(self) -> str:
        return self.part.process.command.name


class Supervisor:
    """Runs one plan. `tell` gets one line for everything a user should know."""

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self._stages = [[_Watched(part) for part in stage] for stage in plan.stages]
        self._running: list[_Watched] = []
        self._tell = tell
        self._stop = threading.Event()
        self._next_trim = time.monotonic() + _TRIM_EVERY_S

    def handle_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP ask for an orderly end; the second one does not wait."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked)

    def ask_to_stop(self) -> None:
        """From any thread: `start` raises Stopped, `watch` returns."""
        self._stop.set()

    def _asked(self, *_: object) -> None:
        if self._stop.is_set():
            for watched in self._running:
                watched.part.process.end_group()
        self._stop.set()

    def start(self) -> None:
        """Start everything and wait until it answers. ConfigError when a part cannot; Stopped when asked to."""
        for stage in self._stages:
            begun = time.monotonic()
            for watched in stage:
                self._launch(watched)
            for watched in stage:
                self._await(watched, begun)

    def add(self, parts: list[Part]) -> None:
        """Start one more stage, without waiting."""
        self._stages.append([_Watched(part) for part in parts])
        for watched in self._stages[-1]:
            self._launch(watched)

    def watch(self) -> None:
        """Keep it running until asked to stop."""
        while not self._stop.wait(_TICK_S):
            self.tick()

    def stop(self) -> None:
        """End all in reverse order: a stage at a time, its parts together."""
        for stage in reversed(self._stages):
            live = [watched.part.process for watched in stage if watched in self._running]
            for process in live:
                process.ask_to_stop()
            for process in live:
                process.stop()

    def _launch(self, watched: _Watched) -> None:
        watched.restart_at = None
        watched.started_at = time.monotonic()
        if watched not in self._running:
            self._running.append(watched)
        watched.part.process.start()

    def _await(self, watched: _Watched, begun: float) -> None:
        part = watched.part
        while not self._is_up(watched):
            if self._stop.wait(_TICK_S):
                raise Stopped
            self.tick()
            for failing in self._running:
                if failing.backoff.crashes >= _START_CRASHES:
                    raise _hopeless(failing, "keeps ending")
            if time.monotonic() - begun > part.deadline_s:
                raise _hopeless(watched, f"is not ready after {part.deadline_s:.0f} s")
        self._tell(f"{watched.name:<7} ready after {time.monotonic() - begun:.1f} s")

    def _is_up(self, watched: _Watched) -> bool:
        code = watched.part.process.ended()
        if code == _CONFIG_EXIT:
            sentence = watched.part.process.last_lines(1).removeprefix("jobtide: ")
            raise ConfigError(f"{watched.name}: {sentence}")
        if watched.part.once:
            return code == 0
        return code is None and watched.restart_at is None and watched.part.answers()

    def tick(self) -> None:
        """Look once: start again what ended, keep logs small."""
        now = time.monotonic()
        for watched in self._running:
            code = watched.part.process.ended()
            if code is None or (watched.part.once and code == 0):
                continue
            if watched.restart_at is None:
                delay_s = watched.backoff.after_crash(now - watched.started_at)
                watched.restart_at = now + delay_s
                self._tell(f"{watched.name} ended ({_how(code)}), starting it again in {delay_s:.1f} s")
            elif now >= watched.restart_at:
                self._launch(watched)
        if now >= self._next_trim:
            self._next_trim = now + _TRIM_EVERY_S
            for watched in self._running:
                trim(watched.part.process.log_path)


def _hopeless(watched: _Watched, what: str) -> ConfigError:
    process = watched.part.process
    return ConfigError(f"{watched.name} {what}: see {process.log_path}; its last lines:\n{process.last_lines()}")


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
