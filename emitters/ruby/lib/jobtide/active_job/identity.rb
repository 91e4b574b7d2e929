# frozen_string_literal: true

require "jobtide/arguments"
require "jobtide/backend"
require "jobtide/bounds"

# Which attempt of which job an ActiveJob object is, and on which backend.
module Jobtide
  module ActiveJob
    module Identity
      module_function

      # The adapter's name: sidekiq, delayed_job, good_job, solid_queue, …
      def system(job)
        name = job.class.queue_adapter_name if job.class.respond_to?(:queue_adapter_name)
        Bounds.system(name || job.class.queue_adapter.class.name.to_s.split("::").last.to_s.delete_suffix("Adapter"))
      end

      # `attempt` as ActiveJob counts; what the backend tried besides is added while it runs a job.
      def job(active_job, attempt, system = self.system(active_job))
        Jobtide.emitter.job(system, active_job.queue_name || "default", active_job.class.name, active_job.job_id, attempt, **more(active_job, system))
      end

      # What the backend says of this job, if its hooks are there and it was not called by another job.
      def context_of(active_job)
        context = Backend.current
        context if context && context.job_id == active_job.job_id
      end

      # While it is performed, `executions` counts this one.
      def running(active_job)
        context = context_of(active_job)
        job(active_job, active_job.executions.to_i + (context ? context.attempts_before : 0), context ? context.system : system(active_job))
      end

      def more(active_job, system)
        facts = {}
        facts[:priority] = active_job.priority if active_job.priority.is_a?(Integer)
        batch = Backend.batch_of(system, active_job)
        facts[:batch_id] = batch if batch
        parent = Backend.running_id
        facts[:parent_job_id] = parent if parent && parent != active_job.job_id
        if (preview = Arguments.current.preview(active_job.class.name, active_job.arguments))
          facts[:args_preview] = preview
        end
        facts
      end
    end
  end
end
