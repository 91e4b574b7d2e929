"""What the emitter may raise, and only where it is being set up: never from a hook, never from an emit."""

from __future__ import annotations


class ConfigError(ValueError):
    """A setting cannot be used. The text names the setting and the fix."""


class TransportDown(Exception):
    """Nothing can be delivered now; the events stay in the buffer and are tried again."""
