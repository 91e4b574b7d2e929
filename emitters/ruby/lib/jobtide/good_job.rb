# frozen_string_literal: true

require "jobtide/active_job"
require "jobtide/good_job/fullness"

# GoodJob 2 to 4: `require "jobtide/good_job"` beside the gem (the railtie does).
#
# Its jobs are ActiveJobs and told by those hooks. Added here: which process works, with how many threads, since when and until
# when (GoodJob's own notifications), how full its queues are, the batch of a job, and that GoodJob may run a job again that ActiveJob has given up.
# Written against GoodJob's documented notifications; not run with the gem.
module Jobtide
  module GoodJob
    SYSTEM = "good_job"
    ONLINE = Jobtide.site("good_job.online")
    STOPPING = Jobtide.site("good_job.stopping")
    OFFLINE = Jobtide.site("good_job.offline")

    class << self
      attr_reader :snapshots

      # Called by itself.
      def install
        return if @installed

        @installed = true
        @pools = []
        Backend.retries_unhandled(SYSTEM) { ::GoodJob.respond_to?(:retry_on_unhandled_error) && ::GoodJob.retry_on_unhandled_error }
        Backend.tables(SYSTEM) { ::GoodJob::BaseRecord if defined?(::GoodJob::BaseRecord) }
        Backend.batches(SYSTEM) { |active_job| batch_of(active_job) }
        on("scheduler_create_pool", ONLINE) { |payload| online(payload) }
        on("scheduler_shutdown_start", STOPPING) { hand.stopping }
        on("scheduler_shutdown", OFFLINE) { |payload| offline(payload) }
      end

      private

      def on(name, site)
        ActiveSupport::Notifications.subscribe("#{name}.good_job") { |event| Jobtide.guard(site) { yield event.payload } }
      end

      def hand
        ActiveJob::Performed::HAND
      end

      # One of the process's schedulers is there: "mail,default" or "*", and so many threads.
      def online(payload)
        @pools << payload[:scheduler]
        queues = payload[:performer_name].to_s.delete_prefix("+").split(/\s*,\s*/).reject(&:empty?)
        first = !hand.online?
        hand.online(SYSTEM, queues: queues.empty? ? ["*"] : queues, concurrency: payload[:max_threads].to_i, version: version)
        @snapshots = Fullness.snapshots.start if first && hand.online? && defined?(::GoodJob::Job)
      end

      # With the last of them the worker is gone.
      def offline(payload)
        @pools.delete(payload[:scheduler])
        return unless @pools.empty?

        @snapshots&.stop
        hand.offline
      end

      # While a job runs GoodJob knows its record; while it is enqueued, the batch that is open.
      def batch_of(active_job)
        current = ::GoodJob::CurrentThread
        record = current.respond_to?(:job) ? current.job : current.execution
        return record.batch_id if record && record.active_job_id == active_job.job_id

        ::GoodJob::Batch.current_batch_id if defined?(::GoodJob::Batch)
      end

      def version
        defined?(::GoodJob::VERSION) ? ::GoodJob::VERSION : ""
      end
    end
  end
end

Jobtide::GoodJob.install
