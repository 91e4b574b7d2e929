"""The hot state in memory: the same promises as Redis, held to them by `tests/conformance/test_hot_state.py`."""

import orjson
from jobtide.sinks.keys import STREAM_KINDS, Keys, parse, stored
from jobtide.streams.errors import TransientError
from jobtide.streams.snapshots import Field, HotWrite, SnapshotKind


class FakeHotState:
    """`away` makes every call raise TransientError; `flush` empties it as FLUSHALL does."""

    def __init__(self, prefix: str = "") -> None:
        self.keys = Keys(prefix)
        self.hashes: dict[str, dict[str, bytes]] = {}
        self.tenants: set[str] = set()
        self.published: list[tuple[str, bytes]] = []
        self.away = False
        self._empty = True

    async def write(self, entries: list[HotWrite]) -> None:
        self._answer()
        told: dict[str, list[tuple[str, str, object]]] = {}
        for e in entries:
            if e.tenant:
                self.tenants.add(e.tenant)
            fields = self.hashes.setdefault(self.keys.hash(e.kind, e.tenant), {})
            if e.field in fields and parse(fields[e.field])[0] > e.version:
                continue
            if e.value is None:
                fields.pop(e.field, None)
            else:
                fields[e.field] = stored(e.version, e.value)
            value = None if e.value is None else orjson.Fragment(e.value)
            told.setdefault(self.keys.updates(e.tenant), []).append((e.kind, e.field, value))
        self.published += [(channel, orjson.dumps(writes)) for channel, writes in told.items()]

    async def lost_everything(self) -> bool:
        self._answer()
        lost, self._empty = self._empty, False
        return lost

    async def fields(self) -> list[Field]:
        self._answer()
        hashes = [(kind, tenant, self.hashes.get(self.keys.hash(kind, tenant), {})) for tenant in sorted(self.tenants) for kind in STREAM_KINDS]
        return [(kind, tenant, name) for kind, tenant, names in hashes for name in names]

    async def close(self) -> None:
        pass

    async def stored(self, kind: SnapshotKind, tenant: str = "") -> dict[str, tuple[int, bytes]]:
        """All fields of a hash as (version, JSON)."""
        return {name: parse(text) for name, text in self.hashes.get(self.keys.hash(kind, tenant), {}).items()}

    async def flush(self) -> None:
        self.hashes, self.tenants, self._empty = {}, set(), True

    def _answer(self) -> None:
        if self.away:
            raise TransientError("the fake hot state is away")
