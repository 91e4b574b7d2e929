"""Loopback TCP ports: is one free, does something answer there. No retries policy, no addresses but loopback."""

import socket
import time
from collections.abc import Callable

from jobtide.streams.errors import ConfigError

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """True when a server could listen on the loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def require_free(port: int, what: str, remedy: str) -> None:
    """ConfigError in one sentence when the port is taken."""
    if not is_free(port):
        raise ConfigError(f"port {port} ({what}) is already in use on {LOOPBACK}: {remedy}")


def free_block(count: int) -> int:
    """The first of `count` consecutive free ports, below the range the kernel hands out to clients."""
    for first in range(20_000 + 16 * (time.monotonic_ns() // 1000 % 700), 32_000, count):
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise ConfigError(f"no {count} consecutive free ports between 20000 and 32000 on {LOOPBACK}")


def wait_until(answers: Callable[[], bool], ended: Callable[[], int | None], deadline_s: float) -> bool:
    """Poll until `answers()`; False when the process ended first or after `deadline_s` seconds."""
    limit = time.monotonic() + deadline_s
    while time.monotonic() < limit:
        if ended() is not None:
            return False
        if answers():
            return True
        time.sleep(0.05)
    return False
