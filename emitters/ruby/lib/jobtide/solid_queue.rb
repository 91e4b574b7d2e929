# frozen_string_literal: true

require "jobtide/active_job"
require "jobtide/background"
require "jobtide/solid_queue/tables"
require "jobtide/snapshots"

# Solid Queue 0.3 to 1: `require "jobtide/solid_queue"` beside the gem, before its supervisor starts (the railtie does).
#
# Its jobs are ActiveJobs and told by those hooks. Added here: workers (Solid Queue's lifecycle hooks, in the worker's own
# process), attempts whose process died (it marks them as failed and says so by a notification), and snapshots of its tables.
# Written against Solid Queue's documented hooks and notifications; not run with the gem.
module Jobtide
  module SolidQueue
    SYSTEM = "solid_queue"
    ONLINE = Jobtide.site("solid_queue.worker_start")
    STOPPING = Jobtide.site("solid_queue.worker_stop")
    LOST = Jobtide.site("solid_queue.fail_many_claimed")
    SNAPSHOT = Jobtide.site("solid_queue.snapshot")

    class << self
      attr_reader :snapshots

      # Called by itself.
      def install
        return if @installed

        @installed = true
        Backend.tables(SYSTEM) { ::SolidQueue::Record }
        if ::SolidQueue.respond_to?(:on_worker_start) # hands over the worker since 1.2
          ::SolidQueue.on_worker_start { |worker = nil| Jobtide.guard(ONLINE) { online(worker) } }
          ::SolidQueue.on_worker_stop { |_worker = nil| Jobtide.guard(STOPPING) { stopping } }
        end
        ActiveSupport::Notifications.subscribe("fail_many_claimed.solid_queue") { |event| Jobtide.guard(LOST) { lost(event.payload) } }
      end

      private

      def hand
        ActiveJob::Performed::HAND
      end

      def online(worker)
        queues = worker.respond_to?(:queues) ? Array(worker.queues).map(&:to_s) : []
        threads = worker.respond_to?(:pool) ? worker.pool.size : 1
        first = !hand.online?
        hand.online(SYSTEM, queues: queues.empty? ? ["*"] : queues, concurrency: threads, version: version)
        return unless first && Jobtide.emitter.enabled

        @snapshots = Snapshots.new(SYSTEM, SNAPSHOT, -> { Tables.eldest?(worker) }, Tables.method(:facts)).start
      end

      def stopping
        @snapshots&.stop
        hand.stopping
      end

      # Reads rows, so not in the thread that says it: that is the supervisor's.
      def lost(payload)
        ids = Array(payload[:job_ids])
        error = Jobtide.emitter.error(payload[:error])
        return if ids.empty? || !Jobtide.emitter.enabled

        Background.start("jobtide-lost") { Jobtide.guard(LOST) { Tables.jobs(ids).each { |job| tell_lost(job, error) } } }
      end

      # Solid Queue does not try again by itself.
      def tell_lost(job, error)
        Jobtide.emitter.say(job, "job.failed.v1", Rank::FINAL, nil, nil, { worker_id: "unknown", error: error })
        Jobtide.emitter.job_dead(job, error)
      end

      def version
        defined?(::SolidQueue::VERSION) ? ::SolidQueue::VERSION : ""
      end
    end
  end
end

Jobtide::SolidQueue.install
