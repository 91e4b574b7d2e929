"""The backend's own counters of its queues, as `queue.snapshot`. `watch` asks on a clock, one process per queue; one module
per backend knows what to ask."""

from jobtide_emitter.queues.watch import Snapshot, Watch, watched

__all__ = ["Snapshot", "Watch", "watched"]
