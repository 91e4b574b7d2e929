# frozen_string_literal: true

require "jobtide/after_commit"
require "jobtide/backend"
require "jobtide/broadcasts"
require "jobtide/delayed_job/fullness"
require "jobtide/delayed_job/row"

# What DelayedJob's lifecycle says, as events. A worker runs one job at a time; the thread remembers which.
module Jobtide
  module DelayedJob
    module Telling
      # What this thread has in hand; `run` is nil where ActiveJob's hooks tell it, or before it began.
      State = Struct.new(:worker_id, :job, :run, :context, :error, :dead)

      class << self
        def enqueued(row)
          return if row.id.nil? || !Jobtide.emitter.enabled # performed at once, there is no queue

          job = Row.job(row)
          run_at_us = Row.put_off_us(row)
          at_us = Moments.now_us
          AfterCommit.tell(Row.table(row)) do
            run_at_us ? Jobtide.emitter.job_scheduled(job, run_at_us, at_us: at_us) : Jobtide.emitter.job_enqueued(job, at_us: Row.created_us(row) || at_us)
          end
        end

        def reserved(worker, row)
          return unless Jobtide.emitter.enabled

          self.state = State.new(worker.name, Row.job(row))
        end

        def started(row)
          state = self.state
          return if state.nil?

          context = state.context = Backend.current = Backend::Context.new(
            Row::SYSTEM, state.job.id, state.worker_id, row.attempts,
            row.attempts.zero? ? Row.stored_us(Row.created_us(row)) : nil, Row.stored_us(Row.put_off_us(row))
          )
          Backend.running_id = state.job.id
          Backend.run = state.run = start(state) unless Row.active_job(row) && Backend.tells?("active_job")
          @held = [Held.new(state.job.queue, state.job.id, state.job.attempt, Moments.text(state.run ? state.run.started_us : Moments.now_us))]
          context
        end

        def finished
          run_of(state)&.finished if state
          Backend.settle(state&.context)
        end

        def raised(error)
          state = self.state
          return if state.nil?

          state.error = error
          run_of(state)&.failed(Jobtide.emitter.error(error))
        end

        # After DelayedJob has decided.
        def handled(row)
          state = self.state
          return if state.nil? || state.dead

          fail_unstarted(row, state)
          Jobtide.emitter.job_retry_scheduled(state.job, Moments.us(row.run_at))
        end

        def died(row)
          state = self.state
          return if state.nil? || state.dead

          fail_unstarted(row, state)
          state.dead = true
          Jobtide.emitter.job_dead(state.job, Jobtide.emitter.error(state.error || row.error))
        end

        def left
          @held = []
          self.state = Backend.current = Backend.run = nil
        end

        def online(worker)
          @worker = Jobtide.emitter.worker(Row::SYSTEM, worker.name, queues: Array(::Delayed::Worker.queues), concurrency: 1, version: version) { @held || [] }
          (@snapshots = Fullness.snapshots)&.start if @worker
        end

        def offline
          @snapshots&.stop
          @worker&.stopping
          Jobtide.emitter.end_worker
        end

        private

        def state
          Thread.current[:jobtide_delayed_job]
        end

        def state=(state)
          Thread.current[:jobtide_delayed_job] = state
        end

        def start(state)
          context = state.context
          Jobtide.emitter.job_started(state.job, state.worker_id, enqueued_at_us: context&.enqueued_at_us, run_at_us: context&.run_at_us)
        end

        # The run to end: nil where ActiveJob ended it. It tells nothing of a job that it could not even load.
        def run_of(state)
          state.run || (start(state) unless state.context&.told)
        end

        # It could not be loaded, or the row could not be removed after it: an attempt all the same.
        def fail_unstarted(row, state)
          return if state.error || state.run || state.context&.told

          start(state).failed(Jobtide.emitter.error(row.error))
        end

        def version
          Gem.loaded_specs["delayed_job"]&.version.to_s
        end
      end
    end
  end
end
