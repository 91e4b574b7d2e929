"""Stage 2: rolling windows of every series, and what else the hot state holds, from the records of job.panes. Pure.

`WindowFold` is the whole of one partition; the other modules are its parts.
"""

from jobtide.streams.windows.fold import WindowFold

__all__ = ["WindowFold"]
