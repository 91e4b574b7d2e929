"""Answers: live numbers from Redis, history from ClickHouse, over HTTP.

Nothing is counted here. Live numbers are stage 2's snapshots, history's are rows the writer stored; this layer
selects, merges (histograms, never percentiles), pages and says how complete an answer is. Pure: `ranges`, `steps`,
`cursors`, `selection`, `measures`, `completeness`, `timeline`. Input and output: `mirror`, `history`, `app` and
`routes`.
"""
