# frozen_string_literal: true

require "jobtide/backend"
require "jobtide/moments"

# Solid Queue's tables, through its models: what waits in each queue, which worker looks, and which jobs were lost.
module Jobtide
  module SolidQueue
    module Tables
      module_function

      # Whether this worker is the one of all that looks: the longest registered of those that live.
      def eldest?(worker)
        mine = worker.respond_to?(:process_id) ? worker.process_id : nil
        !mine.nil? && ::SolidQueue::Process.where(kind: "Worker").minimum(:id) == mine
      end

      # One hash for each queue that has been used.
      def facts
        counts = { "scheduled" => ::SolidQueue::ScheduledExecution, "running" => ::SolidQueue::ClaimedExecution, "dead" => ::SolidQueue::FailedExecution }
        counts = counts.transform_values { |model| model.joins(:job).group("solid_queue_jobs.queue_name").count }
        ready = ::SolidQueue::ReadyExecution.group(:queue_name)
        sizes = ready.count
        oldest = ready.minimum(:created_at)
        paused = ::SolidQueue::Pause.pluck(:queue_name)
        (sizes.keys | paused | counts.values.flat_map(&:keys)).map do |queue|
          facts = { "queue" => queue, "ready" => sizes.fetch(queue, 0), "paused" => paused.include?(queue) }
          facts["oldest_ready_at"] = Moments.text(Moments.us(oldest[queue])) if oldest[queue]
          counts.each_with_object(facts) { |(member, per), all| all[member] = per.fetch(queue, 0) }
        end
      end

      # The attempts that rows stand for, as ActiveJob would name them.
      def jobs(ids)
        ::SolidQueue::Job.where(id: ids).map do |row|
          serialized = row.arguments.is_a?(Hash) ? row.arguments : {}
          Jobtide.emitter.job(SYSTEM, row.queue_name, row.class_name, row.active_job_id, serialized["executions"].to_i + 1)
        end
      end
    end
  end
end
