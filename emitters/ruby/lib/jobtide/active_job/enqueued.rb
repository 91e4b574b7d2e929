# frozen_string_literal: true

require "jobtide/active_job/identity"
require "jobtide/after_commit"
require "jobtide/moments"

# Jobs that ActiveJob gave to its adapter. Silent where the backend's own hooks tell what enters its queues.
module Jobtide
  module ActiveJob
    module Enqueued
      module_function

      def one(event)
        payload = event.payload
        tell(payload[:job]) unless payload[:aborted] || payload[:exception]
      end

      # perform_all_later, since 7.1.
      def all(event)
        event.payload[:jobs].each { |job| tell(job) }
      end

      def tell(active_job)
        system = Identity.system(active_job)
        return if Backend.tells?(system) || refused?(active_job)

        job = Identity.job(active_job, active_job.executions.to_i + 1, system)
        run_at_us = Moments.us(active_job.scheduled_at)
        at_us = Moments.now_us
        AfterCommit.tell(Backend.table(system)) do
          run_at_us ? Jobtide.emitter.job_scheduled(job, run_at_us, at_us: at_us) : Jobtide.emitter.job_enqueued(job, at_us: at_us)
        end
      end

      # The adapter would not take it (known since 7.0).
      def refused?(active_job)
        active_job.respond_to?(:successfully_enqueued?) && !active_job.successfully_enqueued?
      end
    end
  end
end
