"""ClickHouse, embedded or over HTTP: connection, migrations, inserts, minute rollups."""
