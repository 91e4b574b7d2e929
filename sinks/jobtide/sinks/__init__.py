"""Where decoded events and snapshots are kept: ClickHouse (history) and Redis (hot state).

Pure here: `rows`, `executions`, `moves`, `batch`, `dirty`, `watermarks`, `keys`. Input and output: `clickhouse`, `redis`, `history`.
"""
