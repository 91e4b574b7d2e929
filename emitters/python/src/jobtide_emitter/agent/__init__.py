"""The agent of a machine: delivers what dead processes left in the spool directory, of emitters in any language.

Emitters do that themselves with every process that starts or lives on. The agent is for machines where none may do so for
long: cron jobs, containers that come and go, a worker that was killed for good. Each event leaves under the epoch and number
it had, so nothing is counted twice when the agent dies in between, or a process takes a file before it does. It emits nothing
of its own: `jobtide agent`, or `python -m jobtide_emitter.agent` where only the emitter is installed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from jobtide_emitter.agent.left_behind import LeftBehind, abandoned, foreign
from jobtide_emitter.errors import ConfigError, TransportDown
from jobtide_emitter.guard import log
from jobtide_emitter.ring import Record
from jobtide_emitter.settings import Settings
from jobtide_emitter.transports import Transport, transport_class

WINDOW_BYTES = 256 << 10
_LOOK_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class Agent:
    """Delivers one directory to one target. Not thread-safe; `stop` may be called from anywhere, a signal handler too."""

    def __init__(self, settings: Settings, make_transport: Callable[[], Transport] | None = None) -> None:
        if settings.disabled:
            raise ConfigError("JOBTIDE_EMITTER_DISABLED is set: the agent would send nothing; unset it for the agent")
        if not settings.spool_dir:
            raise ConfigError("JOBTIDE_EMITTER_SPOOL_DIR is empty: name the directory that the emitters of this machine spool to")
        if make_transport is None and not settings.active:
            raise ConfigError("JOBTIDE_EMITTER_URL and JOBTIDE_EMITTER_BROKER are empty: say where events go, as for the emitters")
        self.delivered = 0  # events, since the start
        self._directory = Path(settings.spool_dir)
        self._target = settings.target
        self._make_transport = make_transport or (lambda: transport_class(settings)(settings))
        self._transport: Transport | None = None
        self._stop = threading.Event()
        self._complained = ""

    def stop(self) -> None:
        """Ends `run` after the window that is under way."""
        self._stop.set()

    def run(self) -> None:
        """Rounds until `stop`: one a second, fewer while the receiver is away."""
        log.info("jobtide agent: watches %s for events bound for %s", self._directory, self._target)
        others = foreign(self._directory, self._target)
        if others:
            log.warning("jobtide agent: %d files in %s are bound for another target and stay; each target needs its agent", others, self._directory)
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            pause_s = _LOOK_S if self.round() else min(pause_s * 2, _LONGEST_PAUSE_S)
            self._stop.wait(pause_s)
        self.close()

    def round(self) -> bool:
        """Delivers what is there. False when the receiver did not take all of it, or `stop` came first; the rest stays."""
        for left in abandoned(self._directory, self._target):
            before = self.delivered
            try:
                done = self._deliver(left)
            except OSError as error:
                log.warning("jobtide agent: %s cannot be read and stays: %s", left.path, error)
                left.leave()
                continue
            if not done:
                left.leave()
                return False
            left.remove()
            log.info("jobtide agent: %s: %d events delivered", left.path.name, self.delivered - before)
        return True

    def close(self) -> None:
        """Gives up the connection."""
        if self._transport is not None:
            self._transport.close(1.0)

    def _deliver(self, left: LeftBehind) -> bool:
        for window in left.windows(WINDOW_BYTES):
            waiting: Sequence[Record] = window
            while waiting:
                if self._stop.is_set() or (transport := self._reached()) is None:
                    return False
                try:
                    waiting = transport.deliver(waiting, left.epoch)
                except TransportDown as error:
                    self._complain(error)
                    return False
            self.delivered += len(window)
            self._complained = ""
        return True

    def _reached(self) -> Transport | None:
        if self._transport is None:
            transport = self._make_transport()
            try:
                transport.connect()
            except TransportDown as error:
                self._complain(error)
                return None
            self._transport = transport
        return self._transport

    def _complain(self, error: Exception) -> None:
        """Once per outage and cause."""
        if self._complained != str(error):
            self._complained = str(error)
            log.warning("jobtide agent: events stay on disk: %s", error)


def serve(agent: Agent, *, once: bool) -> int:
    """Runs it in the main thread until SIGTERM or SIGINT; `once`: one round. The exit code: 1 if `once` left something."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    if not once:
        agent.run()
        return 0
    done = agent.round()
    agent.close()
    return 0 if done else 1
