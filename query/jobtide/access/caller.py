"""Who is asking, once it is known: a name, a role, and what it is confined to. Pure.

Not how it is found out (`guard`) and not what it may do (`policy`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a key is for. `viewer` < `operator` < `admin`; `ingest` may only send events."""

    INGEST = "ingest"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """True if this role may do what `needed` may. An admin may also send events.

        >>> Role.OPERATOR.covers(Role.VIEWER), Role.VIEWER.covers(Role.OPERATOR), Role.OPERATOR.covers(Role.INGEST)
        (True, False, False)
        """
        if needed is Role.INGEST or self is Role.INGEST:
            return self in (needed, Role.ADMIN)
        return _RANK[self] >= _RANK[needed]


_RANK = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


@dataclass(frozen=True, slots=True)
class Caller:
    """`tenants` and `environments`: only these; None is all. `name` is what the audit log says."""

    name: str
    role: Role | None
    tenants: tuple[str, ...] | None = None
    environments: tuple[str, ...] | None = None
    key_id: str = ""
    rate_per_minute: int | None = None

    def sees(self, tenant: str) -> bool:
        return self.tenants is None or tenant in self.tenants


OPEN = Caller("local", Role.ADMIN)  # nothing to prove: the port is loopback only and there are no keys
NOBODY = Caller("", None, ())  # asks for what needs no key
