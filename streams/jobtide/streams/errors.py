"""Errors, named by what the caller has to do about them.

Not a catalogue of everything that can go wrong: an exception that is none of these four is a bug, and the process
crashes loudly on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobtide.streams.events.reasons import Reason


class ConfigError(Exception):
    """A setting is wrong. Refuse to boot: print the one sentence, which names setting and fix, and exit with code 2."""


class ContractError(Exception):
    """An event breaks the contract. Write its bytes to the dead letter with `reason` and go on with the next."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """`reason` is what is counted and logged; `detail` says where, and never holds more than a few field values."""
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[ContractError], tuple[Reason, str]]:
        """Pickles by its two parts; the default would hand the joined message to `reason`."""
        return (ContractError, (self.reason, self.detail))


class TransientError(Exception):
    """A broker or store is away for now. Retry; commit nothing meanwhile."""


class StoreRejected(Exception):
    """A store understood and refused (schema, permission, disk). Retrying cannot help: stop and say what it said."""
