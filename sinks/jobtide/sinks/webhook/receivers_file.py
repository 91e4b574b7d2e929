"""The receivers file of a notifier: read at start, looked at again about every second, and replaced only by one that is right.

A file with a mistake at start is refused with the process; later the receivers from before stay, and what is wrong is logged once and counted.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from time import monotonic

from jobtide.sinks.webhook.receivers import ReceiversFile, load_receivers
from jobtide.streams.errors import ConfigError
from jobtide.streams.settings import Settings
from prometheus_client import Gauge

LOOK_S = 1.0
FILE_OK = Gauge("jobtide_receivers_file_ok", "1 if the receivers file is right; 0 while an older state of it is in use because of a mistake.")

log = logging.getLogger(__name__)


class WatchedReceivers:
    """`current`: who is told now; `problem`: why the file as it is cannot be used. Nobody is told without a file."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.receivers
        self._text = self._read()
        self.problem = ""
        self.current = self._load(self._text)
        self._looked_s = monotonic()
        FILE_OK.set(1)

    def _read(self) -> str:
        if not self._path:
            return ""
        try:
            return Path(self._path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"JOBTIDE_RECEIVERS: {self._path} cannot be read ({error}); name a readable file") from None

    def _load(self, text: str) -> ReceiversFile:
        return load_receivers(text, self._path, os.environ) if self._path else ReceiversFile.model_validate({})

    def changed(self) -> bool:
        """Look at the file, at most once a second. True if others are told from now on."""
        if not self._path or monotonic() - self._looked_s < LOOK_S:
            return False
        self._looked_s = monotonic()
        try:
            text = self._read()
            if text == self._text and not self.problem:
                return False
            found = self._load(text)
        except ConfigError as error:
            if str(error) != self.problem:
                log.error("receivers file not used, those from before stay: %s", error)
            self.problem = str(error)
            FILE_OK.set(0)
            return False
        other, self._text, self.problem, self.current = text != self._text, text, "", found
        FILE_OK.set(1)
        if other:
            log.info("receivers file read again: %d receivers", len(found.receivers))
        return other
