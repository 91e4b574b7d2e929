"""Which attempts have been written before: Bloom filters over all of them, or over the newest. Pure.

It answers "certainly not" or "probably": one in four hundred new attempts is looked up in vain. ClickHouse computes the bits of what is
written already when partitions are assigned (`LOAD`), so the hash is one that both sides have: halfMD5. Filters that are full stay and a
larger one is begun, until all of them reach MOST_BITS and the oldest goes. An attempt that only it knew is told apart by its enqueue
time, see `moves`.
"""

from __future__ import annotations

from hashlib import md5

from jobtide.sinks.executions import Key

PROBES = 4
BITS_EACH = 16  # bits for each attempt: with 4 probes 0.24 % of answers are wrong
FIRST_BITS, LARGEST_BITS, MOST_BITS = 1 << 22, 1 << 28, 1 << 29  # the largest: 16.7 million attempts in 32 MiB
EVERYTHING = -1  # since before the first event

# A filter's bits as the words of a bitmap, in order. `since` in µs: attempts whose last event is older are left out. A hash's places
# are low, low + high, low + 2 high … of its two halves.
LOAD = f"""
SELECT groupBitOr(bit)
FROM (
  SELECT intDiv(place, 64) AS word, bitShiftLeft(toUInt64(1), modulo(place, 64)) AS bit
  FROM (
    SELECT arrayJoin(arrayMap(i -> modulo(bitAnd(h, 4294967295) + i * bitShiftRight(h, 32), %(bits)s), range({PROBES}))) AS place
    FROM (
      SELECT halfMD5(concatWithSeparator('\\x1f', tenant, environment, system, queue, job_id, toString(attempt))) AS h
      FROM job_executions WHERE last_at >= fromUnixTimestamp64Micro(%(since)s, 'UTC')
    )
  )
)
GROUP BY word ORDER BY word WITH FILL FROM 0 TO intDiv(%(bits)s, 64) STEP 1"""


def hash_of(key: Key) -> int:
    """64 bits of an attempt's key, the same as in LOAD.

    >>> hash_of(("acme", "default", "celery", "mail", "a", 1))
    5128598073516330904
    """
    text = f"{key[0]}\x1f{key[1]}\x1f{key[2]}\x1f{key[3]}\x1f{key[4]}\x1f{key[5]}"
    return int.from_bytes(md5(text.encode(), usedforsecurity=False).digest()[:8], "big")


def bits_for(attempts: int) -> int:
    """The size of a filter for so many attempts and as many again, a power of two.

    >>> bits_for(0) == FIRST_BITS, bits_for(1_000_000) == 1 << 25, bits_for(10**9) == LARGEST_BITS
    (True, True, True)
    """
    return min(max(FIRST_BITS, 1 << (2 * attempts * BITS_EACH - 1).bit_length()), LARGEST_BITS) if attempts else FIRST_BITS


class Known:
    """`bits` as LOAD made them for `loaded` attempts; `complete_since_us`: attempts of which anything was written since then are in it."""

    def __init__(self, bits: bytes | None = None, loaded: int = 0, complete_since_us: int = EVERYTHING) -> None:
        self.complete_since_us = complete_since_us
        self._filters: list[tuple[int, bytearray]] = [(complete_since_us, bytearray(bits) if bits else bytearray(FIRST_BITS // 8))]
        self._count = loaded  # in the newest filter, the last

    def add(self, hashed: int) -> None:
        self._count += 1
        step, place, bits = hashed >> 32, hashed & 0xFFFFFFFF, self._filters[-1][1]
        mask = len(bits) * 8 - 1
        for _ in range(PROBES):
            bit = place & mask
            bits[bit >> 3] |= 1 << (bit & 7)
            place += step

    def __contains__(self, hashed: int) -> bool:
        for _, bits in self._filters:  # noqa: SIM110 - a generator for any() costs as much as the look itself
            if _holds(bits, hashed):
                return True
        return False

    def age(self, append_us: int) -> None:
        """Call between batches, with the newest append time: begins a new filter when the newest is full."""
        size = len(self._filters[-1][1]) * 8
        if self._count * BITS_EACH < size:
            return
        self._filters.append((append_us, bytearray(min(2 * size, LARGEST_BITS) // 8)))
        self._count = 0
        while sum(len(bits) for _, bits in self._filters) * 8 > MOST_BITS:
            del self._filters[0]
            self.complete_since_us = self._filters[0][0]


def _holds(bits: bytearray, hashed: int) -> bool:
    step, place, mask = hashed >> 32, hashed & 0xFFFFFFFF, len(bits) * 8 - 1
    for _ in range(PROBES):
        bit = place & mask
        if not bits[bit >> 3] >> (bit & 7) & 1:
            return False
        place += step
    return True
