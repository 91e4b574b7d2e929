"""Which attempts of one source partition are remembered, how well, and for how long.

Three ages. Open attempts (waiting or running) are kept until they end. Ended ones keep their facts for a while, because a late or
contradicting event may still revise what they counted for. After that only an 8-byte hash stays, so that a straggler does not open a job
that is long over. Every age is judged by append times and counts from the log, never by a clock: folding the same log again forgets the
same attempts at the same events.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from hashlib import blake2b
from typing import Final

import msgspec
from jobtide.streams.folds.facts import AttemptFacts, AttemptKey
from jobtide.streams.folds.panes import MINUTE_US
from jobtide.streams.folds.records import SEPARATOR, SeriesKey, encode
from jobtide.streams.folds.series import Series
from jobtide.streams.folds.state import Chunk, Ended
from mypy_extensions import mypyc_attr

Key = str  # an AttemptKey as text: its parts joined by a character that none of them holds. Half the size of a tuple, and hashed once

RECENT_US: Final = 35 * MINUTE_US  # ended attempts keep their facts this long, or until RECENT_LIMIT newer ones have ended
RECENT_LIMIT: Final = 48_000
FORGOTTEN_MINUTES: Final = 50  # their hashes stay this long after the end, in whole minutes, or until FORGOTTEN_LIMIT newer ones have ended
FORGOTTEN_LIMIT: Final = 4_000_000  # 32 MB


@mypyc_attr(acyclic=True)  # pyright: ignore - not known to the garbage collector: it would walk a million of them and find nothing
class Tracked:
    """One remembered attempt. `closed_us`, `closed_no`: append time and rank of its ending, None while it is open.

    `series` is only valid while the attempt is open: an idle series may be dropped.
    """

    __slots__ = ("closed_no", "closed_us", "facts", "key", "opened_no", "persisted", "series", "series_key", "unsaved")

    def __init__(self, key: Key, facts: AttemptFacts, series: Series, series_key: SeriesKey) -> None:
        self.key, self.facts, self.series, self.series_key = key, facts, series, series_key
        self.closed_us: int | None = None
        self.closed_no = self.opened_no = 0
        self.unsaved = self.persisted = False


_decode_ended = msgspec.msgpack.Decoder(Ended).decode


def key_of(attempt: AttemptKey) -> Key:
    return SEPARATOR.join(map(str, attempt))


def named(key: Key) -> AttemptKey:
    """What a key names."""
    tenant, environment, system, queue, job_id, attempt = key.split(SEPARATOR)
    return AttemptKey(tenant, environment, system, queue, job_id, int(attempt))


def series_of(key: Key, job_class: str) -> SeriesKey:
    tenant, environment, system, queue, _ = key.split(SEPARATOR, 4)
    return SeriesKey(tenant, environment, system, queue, job_class)


def hash_of(key: Key) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")


class Forgotten:
    """Hashes of attempts that ended long ago, by the minute they ended in: sorted arrays, a tenth of what sets would take."""

    def __init__(self) -> None:
        self._by_minute: dict[int, list[array[int]]] = {}
        self._newest_no: dict[int, int] = {}  # by minute: the rank of its last ending
        self.newest_us = -1  # no event later than this can belong to a forgotten attempt (clocks agreeing)

    def add(self, hashes: array[int], closed_us: int, closed_no: int) -> None:
        minute = closed_us // MINUTE_US
        self._newest_no[minute] = max(closed_no, self._newest_no.get(minute, 0))
        self.newest_us = max(self.newest_us, closed_us)
        arrays = self._by_minute.setdefault(minute, [])
        arrays.append(array("Q", sorted(hashes)))
        while len(arrays) > 1 and len(arrays[-1]) * 2 > len(arrays[-2]):  # so that there are few, and each hash is sorted few times
            newest = arrays.pop()
            arrays[-1] = array("Q", sorted(arrays[-1] + newest))

    def holds(self, key: Key, now_us: int, closed_total: int) -> bool:
        wanted, last = hash_of(key), self._newest_no
        return any(
            any(_contains(hashes, wanted) for hashes in arrays)
            for minute, arrays in self._by_minute.items()
            if remembered(minute * MINUTE_US, last[minute], now_us, closed_total)
        )

    def hashes(self) -> set[int]:
        """All of them."""
        return {wanted for arrays in self._by_minute.values() for hashes in arrays for wanted in hashes}

    def expire(self, now_us: int, closed_total: int) -> None:
        """Drop what is too old."""
        for minute in list(self._by_minute):
            if not remembered(minute * MINUTE_US, self._newest_no[minute], now_us, closed_total):
                del self._by_minute[minute], self._newest_no[minute]


def remembered(closed_us: int, closed_no: int, now_us: int, closed_total: int) -> bool:
    """Whether an attempt that ended then is known to be over, if only by its hash."""
    return closed_us // MINUTE_US >= now_us // MINUTE_US - FORGOTTEN_MINUTES and closed_no > closed_total - FORGOTTEN_LIMIT


def _contains(hashes: array[int], wanted: int) -> bool:
    index = bisect_left(hashes, wanted)
    return index < len(hashes) and hashes[index] == wanted


class AttemptMemory:
    """The attempts of one source partition."""

    def __init__(self, recent_limit: int = RECENT_LIMIT) -> None:
        self.open: dict[Key, Tracked] = {}
        self.ended: dict[Key, Tracked | bytes] = {}  # bytes: an encoded Ended
        self.forgotten = Forgotten()
        self.recent_limit = recent_limit
        self.closed_total = 0
        self.unsaved: list[Tracked] = []
        self._chunks: deque[tuple[int, int, int, list[Key]]] = deque()  # number, newest_us, newest_no, keys
        self._hash_chunks: deque[tuple[int, int, int]] = deque()  # number, newest_us, newest_no
        self._next_chunk = self._next_open = 0

    def recall(self, key: Key, now_us: int) -> Tracked | None:
        """An ended attempt whose facts are still kept."""
        found = self.ended.get(key)
        if isinstance(found, bytes):
            stored = _decode_ended(found)
            if self._too_old(stored.closed_us, stored.closed_no, now_us):
                return None
            found = self.ended[key] = self._thaw(key, stored)
        elif found is not None and self._too_old(found.closed_us or 0, found.closed_no, now_us):
            return None
        return found

    def is_over(self, key: Key, time_us: int, now_us: int) -> bool:
        """True if the attempt ended so long ago that nothing of it counts any more."""
        found = self.ended.get(key)
        if found is None:
            return time_us <= self.forgotten.newest_us and self.forgotten.holds(key, now_us, self.closed_total)
        # Too old for `recall` and not a hash yet: judged as the hash will be, so that it does not matter when `save` was called.
        ended = _decode_ended(found) if isinstance(found, bytes) else found
        closed_us = ended.closed_us or 0
        return time_us <= max(closed_us, self.forgotten.newest_us) and remembered(closed_us, ended.closed_no, now_us, self.closed_total)

    def close(self, attempt: Tracked, now_us: int) -> None:
        self.closed_total += 1
        attempt.closed_us, attempt.closed_no = now_us, self.closed_total
        self.open.pop(attempt.key, None)
        self.ended[attempt.key] = attempt

    def touch(self, attempt: Tracked) -> None:
        if not attempt.unsaved:
            attempt.unsaved = True
            self.unsaved.append(attempt)

    def _too_old(self, closed_us: int, closed_no: int, now_us: int) -> bool:
        return closed_us < now_us - RECENT_US or closed_no <= self.closed_total - self.recent_limit

    @staticmethod
    def _thaw(key: Key, stored: Ended) -> Tracked:
        facts = AttemptFacts(*stored.facts)
        series = Series(series_of(key, stored.series_class or facts.job_class))
        attempt = Tracked(key, facts, series, series.key)
        attempt.closed_us, attempt.closed_no = stored.closed_us, stored.closed_no
        return attempt

    # -- checkpoint

    def save(self, now_us: int) -> list[tuple[bytes, bytes | None]]:
        """(key, value) of everything that changed since the last call, and of what became too old."""
        out: list[tuple[bytes, bytes | None]] = []
        ended: list[msgspec.Raw] = []
        texts: list[bytes] = []
        keys: list[Key] = []
        newest_us = newest_no = 0
        for attempt in self.unsaved:
            attempt.unsaved = False
            text = attempt.key.encode()
            if attempt.closed_us is None:
                if attempt.key in self.open:
                    if not attempt.persisted:
                        attempt.persisted, attempt.opened_no = True, self._next_open
                        self._next_open += 1
                    out.append((b"a" + text, encode((attempt.series_key.job_class, attempt.facts.record(), attempt.opened_no))))
                elif attempt.persisted:  # given up at the bound
                    out.append((b"a" + text, None))
                continue
            if attempt.persisted:
                attempt.persisted = False
                out.append((b"a" + text, None))
            job_class, facts = attempt.series_key.job_class, attempt.facts
            stored = encode(("" if job_class == facts.job_class else job_class, attempt.closed_us, attempt.closed_no, facts.record()))
            self.ended[attempt.key] = stored
            ended.append(msgspec.Raw(stored))
            texts.append(text)
            keys.append(attempt.key)
            newest_us, newest_no = max(newest_us, attempt.closed_us), max(newest_no, attempt.closed_no)
        self.unsaved = []
        if ended:
            out.append((_chunk_key(self._next_chunk), encode(Chunk(newest_us, newest_no, texts, ended))))
            self._chunks.append((self._next_chunk, newest_us, newest_no, keys))
            self._next_chunk += 1
        out.extend(self._age(now_us))
        return out

    def _age(self, now_us: int) -> list[tuple[bytes, bytes | None]]:
        out: list[tuple[bytes, bytes | None]] = []
        while self._chunks and self._too_old(self._chunks[0][1], self._chunks[0][2], now_us):
            number, newest_us, newest_no, keys = self._chunks.popleft()
            hashes = array("Q")
            for key in keys:
                if self._forget(key, now_us):
                    hashes.append(hash_of(key))
            self.forgotten.add(hashes, newest_us, newest_no)
            self._hash_chunks.append((number, newest_us, newest_no))
            out.append((_chunk_key(number), encode(Chunk(newest_us, newest_no, [], [], hashes.tobytes()))))
        while self._hash_chunks and not remembered(*self._hash_chunks[0][1:], now_us, self.closed_total):
            out.append((_chunk_key(self._hash_chunks.popleft()[0]), None))
        self.forgotten.expire(now_us, self.closed_total)
        return out

    def _forget(self, key: Key, now_us: int) -> bool:
        """Drop an ended attempt; False if a newer chunk still has to do it."""
        found = self.ended.get(key)
        if found is None:
            return False
        if isinstance(found, bytes):
            stored = _decode_ended(found)
            closed_us, closed_no = stored.closed_us, stored.closed_no
        else:
            closed_us, closed_no = found.closed_us or 0, found.closed_no
        if not self._too_old(closed_us, closed_no, now_us):
            return False
        del self.ended[key]
        return True

    def load_open(self, attempt: Tracked, opened_no: int) -> None:
        attempt.persisted, attempt.opened_no = True, opened_no
        self._next_open = max(self._next_open, opened_no + 1)
        self.open[attempt.key] = attempt

    def order_open(self) -> None:
        """After the last `load_open`: back into the order of opening, since at the bound the oldest is given up."""
        self.open = dict(sorted(self.open.items(), key=lambda item: item[1].opened_no))

    def load_chunk(self, number: int, chunk: Chunk) -> None:
        """Chunks must come in the order of their numbers."""
        self._next_chunk = max(self._next_chunk, number + 1)
        if not chunk.ended:
            hashes = array("Q")
            hashes.frombytes(chunk.hashes)
            self.forgotten.add(hashes, chunk.newest_us, chunk.newest_no)
            self._hash_chunks.append((number, chunk.newest_us, chunk.newest_no))
            return
        keys: list[Key] = []
        for text, raw in zip(chunk.keys, chunk.ended, strict=True):
            key = text.decode()
            self.ended[key] = bytes(raw)
            keys.append(key)
        self._chunks.append((number, chunk.newest_us, chunk.newest_no, keys))


def _chunk_key(number: int) -> bytes:
    return b"t%016x" % number
