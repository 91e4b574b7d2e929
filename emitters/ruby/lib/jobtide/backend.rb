# frozen_string_literal: true

require "socket"
require "jobtide/bounds"

# What the hooks of one layer tell the other, where two see the same job: a backend (Sidekiq, DelayedJob, Resque), and
# ActiveJob on top of it.
#
# The backend knows the worker, the waiting and its own retries; ActiveJob knows the job's own identity and whether its
# code raised. So the backend's hooks leave what they know here while a job runs, and ActiveJob's take it.
module Jobtide
  module Backend
    # `attempts_before`: tries of this run that ActiveJob did not count. ActiveJob sets `told` when it tells the run, and
    # `stopped` (its job and error) when `retry_on` gave up: whether that is the end is the backend's to say.
    Context = Struct.new(:system, :job_id, :worker_id, :attempts_before, :enqueued_at_us, :run_at_us, :told, :stopped)

    @telling = {}
    @retrying = {}
    @batches = {}
    @tables = {}
    @interruptions = []

    class << self
      # This system's own hooks tell what is enqueued, scheduled and retried: ActiveJob's keep still about that.
      def tells(system)
        @telling[system] = true
      end

      def tells?(system)
        @telling.key?(system)
      end

      # The block says whether the system runs a job again whose error ActiveJob has let out.
      def retries_unhandled(system, &asked)
        @retrying[system] = asked
      end

      def retries_unhandled?(system)
        @retrying.key?(system) && @retrying[system].call
      end

      # The block says the model whose connection the system writes its jobs through: they come into being when that commits.
      def tables(system, &asked)
        @tables[system] = asked
      end

      def table(system)
        @tables[system]&.call
      end

      # The block says the id of an ActiveJob's batch on the system, if it has one.
      def batches(system, &asked)
        @batches[system] = asked
      end

      def batch_of(system, active_job)
        @batches[system]&.call(active_job)
      end

      # Classes of exceptions (given by a block, because they may be loaded later) by which a backend takes a job back: no
      # failure, it comes again as the same attempt.
      def takes_back(&classes)
        @interruptions << classes
      end

      def requeued?(exception)
        classes = @interruptions.flat_map(&:call)
        seen = {}.compare_by_identity
        while exception && !seen.key?(exception)
          return true if classes.any? { |kind| exception.is_a?(kind) }

          seen[exception] = true
          exception = exception.cause
        end
        false
      end

      # What the backend knows of the job that this thread runs; nil outside of one.
      def current
        Thread.current[:jobtide_backend]
      end

      def current=(context)
        Thread.current[:jobtide_backend] = context
      end

      # The backend saw no error: what ActiveJob gave up is dead.
      def settle(context)
        Jobtide.emitter.job_dead(*context.stopped) if context&.stopped
      end

      # The id of the job that this thread runs: the parent of what it enqueues.
      def running_id
        Thread.current[:jobtide_running_id]
      end

      def running_id=(job_id)
        Thread.current[:jobtide_running_id] = job_id
      end

      # The run that this thread has in hand, for `Jobtide.progress`. Its job is the parent of what the thread enqueues.
      def run
        Thread.current[:jobtide_run]
      end

      def run=(run)
        thread = Thread.current
        thread[:jobtide_run] = run
        thread[:jobtide_running_id] = run&.job&.id
      end

      # host:pid, for backends that have no name for their workers.
      def process_id
        "#{Socket.gethostname}:#{::Process.pid}"
      end
    end

    # What a serialised ActiveJob (a Hash) says of itself, [class, id, executions so far], or nil if it is none.
    def self.active_job(serialized)
      return unless serialized.is_a?(Hash) && serialized["job_id"] && serialized["job_class"]

      [serialized["job_class"], serialized["job_id"], serialized["executions"].to_i]
    end
  end
end
