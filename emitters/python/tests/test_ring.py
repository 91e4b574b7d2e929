"""The ring: numbers, bounds, what goes first when it is full, and that nothing disturbs its numbers."""

import signal
import threading

from jobtide_emitter.ring import Rank, Ring


def put(ring: Ring, count: int, rank: Rank = Rank.STEP, lane: int = 3, size: int = 10) -> None:
    for _ in range(count):
        ring.put(b"x" * size, lane, rank)


def peek(ring: Ring) -> set[int]:
    return {record[1] for queue in ring._queues for record in queue}


def test_numbers_count_from_zero_per_lane() -> None:
    ring = Ring(100, 10_000)
    for lane in (5, 9, 5, 5, 9):
        ring.put(b"{}", lane, Rank.STEP)
    assert [(record.lane, record.seq) for record in ring.take(10_000)] == [(5, 0), (9, 0), (5, 1), (5, 2), (9, 1)]
    assert (ring.next[5], ring.next[9], ring.next[0]) == (3, 2, 0)


def test_takes_in_the_order_of_putting_whatever_the_rank() -> None:
    ring = Ring(100, 10_000)
    for number in range(30):
        ring.put(b"%d" % number, 0, (Rank.END, Rank.BEAT, Rank.STEP)[number % 3])
    assert [int(record.raw) for record in ring.take(10_000)] == list(range(30))


def test_take_stops_at_the_bytes_but_gives_at_least_one() -> None:
    ring = Ring(100, 10_000)
    put(ring, 5, size=400)
    assert len(ring.take(1)) == 1
    assert len(ring.take(800)) == 2
    assert (ring.events, ring.bytes) == (2, 800)


def test_full_of_events_drops_heartbeats_first_ends_last() -> None:
    ring = Ring(4, 10_000)
    put(ring, 2, Rank.END, lane=1)
    put(ring, 1, Rank.BEAT, lane=2)
    put(ring, 1, Rank.STEP, lane=3)
    put(ring, 1, Rank.END, lane=1)  # the heartbeat goes
    assert peek(ring) == {1, 3}
    put(ring, 1, Rank.END, lane=1)  # the step goes
    assert peek(ring) == {1}
    put(ring, 1, Rank.END, lane=1)  # the oldest end goes
    assert [record.seq for record in ring.take(10_000)] == [1, 2, 3, 4]
    assert ring.dropped == 3


def test_a_new_heartbeat_is_the_one_dropped_when_all_else_matters_more() -> None:
    ring = Ring(2, 10_000)
    put(ring, 2, Rank.END)
    put(ring, 1, Rank.BEAT)
    assert [record.seq for record in ring.take(10_000)] == [0, 1]
    assert ring.dropped == 1


def test_full_of_bytes_drops_too() -> None:
    ring = Ring(1000, 1000)
    put(ring, 10, size=100)
    put(ring, 1, size=500)
    assert ring.bytes <= 1000
    assert ring.dropped == 5


def test_a_drop_leaves_a_hole_in_the_numbers() -> None:
    ring = Ring(2, 10_000)
    put(ring, 1, Rank.STEP)
    put(ring, 2, Rank.END)
    assert [record.seq for record in ring.take(10_000)] == [1, 2]
    assert ring.next[3] == 3


def test_lose_is_a_hole_without_an_event() -> None:
    ring = Ring(10, 10_000)
    put(ring, 1)
    ring.lose(3)
    put(ring, 1)
    assert [record.seq for record in ring.take(10_000)] == [0, 2]
    assert (ring.dropped, ring.last_order) == (1, 3)


def test_threads_never_share_a_number() -> None:
    ring = Ring(100_000, 10_000_000)
    threads = [threading.Thread(target=put, args=(ring, 3000)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.seq for record in ring.take(10_000_000)) == list(range(18_000))


def test_a_signal_handler_that_puts_inside_put_neither_deadlocks_nor_repeats_a_number() -> None:
    ring = Ring(1_000_000, 1 << 30)
    hits = 0

    def handler(*_: object) -> None:
        nonlocal hits
        hits += 1
        ring.put(b"s", 3, Rank.END)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0002)
        while hits < 200:
            put(ring, 100)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    seqs = sorted(record.seq for record in ring.take(1 << 30))
    assert seqs == list(range(len(seqs)))


def test_empty_order_is_the_last_one_only_when_nothing_waits() -> None:
    ring = Ring(10, 10_000)
    put(ring, 3)
    assert ring.empty_order() == 0
    ring.take(10_000)
    assert ring.empty_order() == 3
