"""The spool: events on disk while they cannot be delivered. `segments` is a file, `directory` are all files of a
target, `writer` puts the events of a crowded ring there, `backlog` is what still has to be delivered."""

from jobtide_emitter.spool.backlog import Spool

__all__ = ["Spool"]
