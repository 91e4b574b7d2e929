"""`jobtide replay`: a file of events, one a line, played into a running jobtide through its gateway.

`history` keeps the events' own times and marks them as backfill; `retime` makes new jobs of them that happen now. Both
are pure and repeatable; `file` reads, `post` sends, `play` paces.
"""
