-- How long did each class keep workers busy in [from_us, to_us), and how much of it ended in a failure? The costliest first, one page
-- after a sort key. Run time counts where an attempt ended.
SELECT
  tenant, environment, system, queue, job_class, sum(run_ok_sum_us) + sum(run_failed_sum_us) AS busy_us, sum(run_failed_sum_us), sum(finished),
  sum(failed), sum(wait_sum_us), sum(busy_us) OVER () AS all_us
FROM {{counted}}
GROUP BY tenant, environment, system, queue, job_class
QUALIFY (-toInt64(busy_us), tenant, environment, system, queue, job_class)
  > ({after_0:Int64}, {after_1:String}, {after_2:String}, {after_3:String}, {after_4:String}, {after_5:String})
ORDER BY busy_us DESC, tenant, environment, system, queue, job_class
LIMIT {limit:UInt32}
SETTINGS max_execution_time = 30
