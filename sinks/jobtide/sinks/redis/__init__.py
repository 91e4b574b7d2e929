"""Redis or Valkey: the hot state behind the live answers."""
