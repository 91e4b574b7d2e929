# frozen_string_literal: true

require "delayed_job"
require "jobtide"
require "jobtide/delayed_job/telling"

# DelayedJob 4.1: `require "jobtide/delayed_job"` (the railtie does), before the first worker or enqueue.
#
# A plugin of DelayedJob's own lifecycle. The error of an attempt is taken around :invoke_job, where nothing has handled it
# yet; what becomes of the job is known after :error (another time to run) or in :failure (none).
module Jobtide
  module DelayedJob
    class Plugin < ::Delayed::Plugin
      ENQUEUED = Jobtide.site("delayed_job.enqueue")
      STARTED = Jobtide.site("delayed_job.started")
      FINISHED = Jobtide.site("delayed_job.finished")
      RAISED = Jobtide.site("delayed_job.raised")
      RETRIED = Jobtide.site("delayed_job.error")
      DIED = Jobtide.site("delayed_job.failure")
      ONLINE = Jobtide.site("delayed_job.online")
      OFFLINE = Jobtide.site("delayed_job.offline")
      LEFT = Jobtide.site("delayed_job.left")

      callbacks do |lifecycle|
        lifecycle.around(:enqueue) do |job, *rest, &block|
          result = block.call(job, *rest)
          Jobtide.guard(ENQUEUED) { Telling.enqueued(job) }
          result
        end

        lifecycle.around(:perform) do |worker, job, *rest, &block|
          Jobtide.guard(LEFT) { Telling.reserved(worker, job) }
          block.call(worker, job, *rest)
        ensure
          Jobtide.guard(LEFT) { Telling.left }
        end

        lifecycle.around(:invoke_job) { |job, *rest, &block| Plugin.invoke(job, rest, block) }

        lifecycle.around(:error) do |worker, job, *rest, &block|
          result = block.call(worker, job, *rest)
          Jobtide.guard(RETRIED) { Telling.handled(job) }
          result
        end

        lifecycle.around(:failure) do |worker, job, *rest, &block|
          result = block.call(worker, job, *rest)
          Jobtide.guard(DIED) { Telling.died(job) }
          result
        end

        lifecycle.around(:execute) do |worker, *rest, &block|
          Jobtide.guard(ONLINE) { Telling.online(worker) }
          block.call(worker, *rest)
        ensure
          Jobtide.guard(OFFLINE) { Telling.offline }
        end
      end

      def self.invoke(job, rest, block)
        Jobtide.guard(STARTED) { Telling.started(job) }
        begin
          result = block.call(job, *rest)
        rescue Exception => e # rubocop:disable Lint/RescueException -- told and raised again, whatever it is
          Jobtide.guard(RAISED) { Telling.raised(e) }
          raise
        end
        Jobtide.guard(FINISHED) { Telling.finished }
        result
      end
    end

    # Called by itself.
    def self.install
      return if ::Delayed::Worker.plugins.include?(Plugin)

      Backend.tells("delayed_job")
      ::Delayed::Worker.plugins << Plugin
      # Jobs enqueued before this have made the lifecycle without us.
      ::Delayed::Worker.setup_lifecycle if ::Delayed::Worker.instance_variable_get(:@lifecycle)
    end
  end
end

Jobtide::DelayedJob.install
