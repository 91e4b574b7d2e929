"""Whose checkpoint records count, against a model that knows who really owned the partition, with compaction in between."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from jobtide.streams.checkpoint.ownership import CLAIM_PREFIX, Ownership

Kept = tuple[int, bytes, bytes, int | None]  # offset, key, owner, value


@dataclass
class Log:
    """A compacted topic partition, as Kafka keeps it, and what its state should be."""

    records: list[Kept] = field(default_factory=list)
    end: int = 0
    owner: bytes = b""
    truth: dict[bytes, int] = field(default_factory=dict)
    restored: bool = True  # no record of a replaced owner hides one that counts

    def append(self, owner: bytes, key: bytes, value: int | None) -> None:
        self.records.append((self.end, key, owner, value))
        self.end += 1

    def claim(self, owner: bytes) -> dict[bytes, int]:
        """What `CheckpointLog.recover` does. Returns the state it finds."""
        self.append(owner, CLAIM_PREFIX + owner, 1)
        self.owner = owner
        reading, state = Ownership(), dict[bytes, int | None]()
        for _, key, writer, value in self.records:
            if reading.counts(key, writer):
                state[key] = value
        for key in reading.overwritten:
            self.append(owner, key, state.get(key))
        self.restored = True
        return {key: value for key, value in state.items() if value is not None}

    def write(self, owner: bytes, key: bytes, value: int | None) -> None:
        self.append(owner, key, value)
        if owner != self.owner:
            self.restored = False
        elif value is None:
            self.truth.pop(key, None)
        else:
            self.truth[key] = value

    def compact(self, until: int) -> None:
        """Keep the newest record of each key up to `until`; its lag gives an owner time to write again what was overwritten."""
        if self.restored:
            newest = {key: offset for offset, key, _, _ in self.records if offset < until}
            self.records = [r for r in self.records if r[0] >= until or newest[r[1]] == r[0]]


owners = st.integers(0, 3).map(lambda n: b"owner%d" % n)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), owners, st.integers(0, 4), st.none() | st.integers(0, 9)),
        st.tuples(st.just("claim"), st.just(b""), st.just(0), st.none()),
        st.tuples(st.just("compact"), st.just(b""), st.integers(0, 60), st.none()),
    ),
    max_size=60,
)


@given(steps)
def test_recovery_finds_what_the_owners_wrote_and_nothing_else(steps: list[tuple[str, bytes, int, int | None]]) -> None:
    log, alive = Log(), [b"owner0"]
    log.claim(alive[0])
    for what, owner, number, value in steps:
        if what == "claim":
            alive.append(b"claimant%d" % len(alive))
            assert log.claim(alive[-1]) == log.truth
        elif what == "compact":
            log.compact(min(number, log.end))
        else:  # the newest claimant, or one of those before it
            log.write(alive[-1 - int(owner[-1:]) % len(alive)], b"k%d" % number, value)
    assert log.claim(b"last") == log.truth


def test_a_replaced_owner_is_not_believed_and_its_keys_are_told() -> None:
    reading = Ownership()
    assert not reading.counts(CLAIM_PREFIX + b"a", b"a")
    assert reading.counts(b"x", b"a")
    assert not reading.counts(CLAIM_PREFIX + b"b", b"b")
    assert not reading.counts(b"x", b"a")
    assert reading.overwritten == {b"x"}
    assert reading.counts(b"x", b"b")
    assert not reading.overwritten


def test_nothing_counts_before_a_claim() -> None:
    assert not Ownership().counts(b"x", b"a")
