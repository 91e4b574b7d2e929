-- What the request said beside its path: the text of an analyst's SQL, bounded and without what looks like a secret.
ALTER TABLE audit_log ADD COLUMN IF NOT EXISTS detail String CODEC(ZSTD(1));
