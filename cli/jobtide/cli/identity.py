"""How this process proves who it is to a jobtide that asks for keys: the user's key, or what `up` gave to its children."""

from __future__ import annotations

import os


def key() -> str | None:
    """The API key to send, if there is one."""
    return os.environ.get("JOBTIDE_KEY") or os.environ.get("JOBTIDE_UP_KEY") or None


def headers() -> dict[str, str]:
    """The header that carries it."""
    found = key()
    return {"Authorization": f"Bearer {found}"} if found else {}
