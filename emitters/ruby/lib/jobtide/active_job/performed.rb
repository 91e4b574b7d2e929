# frozen_string_literal: true

require "jobtide/active_job/identity"
require "jobtide/in_hand"
require "jobtide/moments"

# What ActiveJob does with a job: start, end, and what it decides after an error.
#
# Where `retry_on` or `discard_on` handle an error, 6.1 tells `perform` with the error first; since 7.0 `perform` comes last and
# without it, and only `enqueue_retry`, `retry_stopped` and `discard` have it. A run ends once, so both are right here. An
# error that leaves ActiveJob is the backend's: its hooks tell the retry or the death, or it is one that never tries again.
module Jobtide
  module ActiveJob
    module Performed
      # Adapters below which nothing tries again.
      FINAL = %w[async inline good_job solid_queue].freeze
      RUN = :@jobtide_run
      # Where the backend below has no hooks of its own for each job, the process itself is the worker.
      HAND = InHand.new

      class << self
        def started(event)
          active_job = event.payload[:job]
          context = Identity.context_of(active_job)
          job = Identity.running(active_job)
          run = Jobtide.emitter.job_started(
            job, context ? context.worker_id : worker_of(job).worker_id,
            enqueued_at_us: context&.enqueued_at_us || Moments.us(active_job.enqueued_at), run_at_us: context&.run_at_us || Moments.us(active_job.scheduled_at)
          )
          context.told = true if context
          Thread.current[:jobtide_active_job] ||= active_job
          active_job.instance_variable_set(RUN, run)
          context ? Backend.run = run : HAND.hold(run)
        end

        def performed(event)
          active_job = event.payload[:job]
          run = run_of(active_job)
          return if run.nil?

          error = event.payload[:exception_object]
          HAND.release(run, failed: !error.nil?)
          if error then Backend.requeued?(error) || run.failed(Jobtide.emitter.error(error))
          elsif event.payload[:aborted] then run.discarded("a callback halted it")
          else run.finished
          end
        end

        def retry_scheduled(event)
          active_job = event.payload[:job]
          fail_handled(active_job, event.payload[:error])
          run_at_us = Moments.us(active_job.scheduled_at) || Moments.now_us
          Jobtide.emitter.job_retry_scheduled(job_of(active_job), run_at_us)
        end

        def retry_stopped(event)
          fail_handled(event.payload[:job], event.payload[:error])
          job = job_of(event.payload[:job])
          error = Jobtide.emitter.error(event.payload[:error])
          context = Identity.context_of(event.payload[:job])
          context ? context.stopped = [job, error] : Jobtide.emitter.job_dead(job, error)
          entered # told: it may still escape
        end

        def discarded(event)
          error = event.payload[:error]
          fail_handled(event.payload[:job], error)
          Jobtide.emitter.job_discarded(job_of(event.payload[:job]), "discard_on", error: Jobtide.emitter.error(error))
        end

        # ActiveJob begins with another job.
        def entered
          Thread.current[:jobtide_active_job] = nil
        end

        # Handled by nobody.
        def escaped(error)
          active_job = Thread.current[:jobtide_active_job]
          return unless active_job && Backend.current.nil? && final?(Identity.system(active_job))

          Jobtide.emitter.job_dead(job_of(active_job), Jobtide.emitter.error(error))
        end

        private

        def final?(system)
          FINAL.include?(system) && !Backend.retries_unhandled?(system)
        end

        # `retry_job` may be called without an error: then nothing has failed.
        def fail_handled(active_job, error)
          run = run_of(active_job)
          run.failed(Jobtide.emitter.error(error)) if run && error
        end

        def run_of(active_job)
          active_job.instance_variable_get(RUN)
        end

        # The attempt that was started, or the one that could not be.
        def job_of(active_job)
          run_of(active_job)&.job || Identity.running(active_job)
        end

        def worker_of(job)
          HAND.online(job.system, queues: [job.queue], concurrency: 1) unless HAND.online? || Jobtide.emitter.worker?
          HAND
        end
      end
    end
  end
end
