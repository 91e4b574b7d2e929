-- How much of what emitters numbered in the range has arrived? The sums of what epochs.sql lists, over all queues.
SELECT sum(received), sum(missing)
FROM (
  SELECT sum(lane_received) AS received, sum(span) - sum(lane_received) AS missing
  FROM (SELECT tenant, epoch, lane_system, span, received AS lane_received FROM {{numbered}})
  GROUP BY tenant, epoch
  HAVING {system:Nullable(String)} IS NULL OR max(lane_system) = {system:Nullable(String)})
SETTINGS max_execution_time = 30
