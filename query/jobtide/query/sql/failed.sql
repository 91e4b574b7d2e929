-- The attempts that failed in [from_us, to_us), with the host they ran on; `place` is their order in time, as one number. Not a question of its own.
(
  SELECT
    tenant, environment, system, queue, job_class, job_id, attempt, toUnixTimestamp64Micro(at) AS at_us, at AS failed_at, host,
    error_class, error_message, error_fingerprint, bitShiftLeft(toUInt128(at_us), 64) + attempt_hash AS place,
    attempt_hash IN (SELECT attempt_hash FROM failures WHERE fact = 'dead' AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})) AS dead,
    attempt_hash IN (SELECT attempt_hash FROM failures WHERE fact = 'recovered' AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})) AS recovered
  FROM failures FINAL
  WHERE fact = 'failed' AND rank = 3
    AND at >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') AND at < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')
    AND {{selected}}
)
