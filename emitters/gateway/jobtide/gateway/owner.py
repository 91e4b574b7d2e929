"""Whose events a request may hold: an ingest key fixes the tenant, and the environment if it names one. Pure.

Events that say nothing are the key's. One that claims another tenant is refused, not rewritten: its lane, its numbers
and its partition were made from that name, and a silent change would look like a loss in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobtide.access.caller import Caller
from jobtide.streams.events import Event

NOT_YOURS = "tenant_not_allowed"


@dataclass(frozen=True, slots=True)
class Owner:
    """None: any. `tenant` and `environment` are what an event has that does not say."""

    tenants: tuple[str, ...] | None = None
    environments: tuple[str, ...] | None = None
    tenant: str = "default"
    environment: str = "default"

    def foreign(self, event: Event) -> str | None:
        """Why an event is not this owner's; None if it is. Its partition key begins with its tenant: the decoder sees to that."""
        data = event.data
        if self.tenants is not None and data.tenant not in self.tenants:
            return f"the key is for tenant {', '.join(self.tenants)}, and the event says {data.tenant!r}: set the emitter's tenant to the key's"
        if self.environments is not None and data.environment not in self.environments:
            return f"the key is for environment {', '.join(self.environments)}, and the event says {data.environment!r}"
        return None


ANYBODY = Owner()


def owner_of(caller: Caller) -> Owner:
    """What a caller's key says of its events."""
    return Owner(caller.tenants, caller.environments, _first(caller.tenants), _first(caller.environments))


def _first(names: Sequence[str] | None) -> str:
    return names[0] if names else "default"
