"""Names and values of the hot state in Redis: the contract between who writes it (`redis.hot_state`) and who reads it (`query`). Pure.

Values are absolute and versioned: a hash field holds `<version>|<JSON>`, and only a version that is not older replaces it. The JSON is
that of `jobtide.streams.snapshots`. Every accepted write is also published, as a JSON array of `[kind, field, value]`.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobtide.streams.snapshots import SEPARATOR, SnapshotKind

PROGRESS: SnapshotKind = "progress"
STREAM_KINDS: tuple[SnapshotKind, ...] = ("series", "queues", "workers", "ledger", "stuck")  # stage 2 writes these
KINDS: tuple[SnapshotKind, ...] = (*STREAM_KINDS, "signals")  # all that belong to a tenant; signals are the query API's own


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of one installation; `prefix` is the setting JOBTIDE_REDIS_PREFIX."""

    prefix: str

    @property
    def boot(self) -> str:
        """A random id; when it is gone or another, the store was emptied."""
        return f"{self.prefix}boot"

    @property
    def tenants(self) -> str:
        """The set of all tenant names."""
        return f"{self.prefix}tenants"

    def hash(self, kind: SnapshotKind, tenant: str = "") -> str:
        """The hash that holds the snapshots of a kind; progress is of no tenant.

        >>> Keys("jt:").hash("series", "acme"), Keys("jt:").hash("progress")
        ('jt:series:acme', 'jt:progress')
        """
        return f"{self.prefix}{kind}" if kind == PROGRESS else f"{self.prefix}{kind}:{tenant}"

    def updates(self, tenant: str = "") -> str:
        """The channel that tells of accepted writes: one per tenant, and one without for progress."""
        return f"{self.prefix}updates:{tenant}" if tenant else f"{self.prefix}updates"


def field(*parts: str | int) -> str:
    """A field name: `(environment, system, queue, job_class)` of a series and of what is stuck in it, `(environment, system, worker_id)` of a worker,
    `(environment, system, queue)` of a queue, `(partition, epoch)` of a ledger entry, `(partition,)` of progress."""
    return SEPARATOR.join(map(str, parts))


def parts(name: str) -> tuple[str, ...]:
    """The parts of a field name.

    >>> parts(field("production", "celery", "mail", "Send"))
    ('production', 'celery', 'mail', 'Send')
    """
    return tuple(name.split(SEPARATOR))


def stored(version: int, value: bytes) -> bytes:
    """What is written into a hash field.

    >>> stored(7, b'{}')
    b'7|{}'
    """
    return b"%d|%b" % (version, value)


def parse(text: bytes) -> tuple[int, bytes]:
    """(version, JSON) of a hash field. Raises ValueError for what `stored` did not make.

    >>> parse(b'7|{"a":"|"}')
    (7, b'{"a":"|"}')
    """
    version, bar, value = text.partition(b"|")
    if not bar:
        raise ValueError(f"not a versioned value: {text[:40]!r}")
    return int(version), value
