-- Joins that give rows of `t` (tenant, environment, system, failed_at) the release that was deployed then: `release_of` names it. Not
-- a question of its own.
ASOF LEFT JOIN (SELECT tenant AS t1, environment AS e1, time AS of_all_at, release AS of_all FROM deploys FINAL WHERE system = '') AS every
  ON every.t1 = t.tenant AND every.e1 = t.environment AND t.failed_at >= every.of_all_at
ASOF LEFT JOIN (
  SELECT tenant AS t2, environment AS e2, system AS s2, time AS of_system_at, release AS of_system FROM deploys FINAL WHERE system != ''
) AS ours ON ours.t2 = t.tenant AND ours.e2 = t.environment AND ours.s2 = t.system AND t.failed_at >= ours.of_system_at
