# frozen_string_literal: true

require "jobtide/backend"
require "jobtide/broadcasts"
require "jobtide/guard"
require "jobtide/sidekiq/payload"

# An attempt in a Sidekiq thread, told by a server middleware: the outermost, so that what other middlewares raise counts
# as Sidekiq counts it.
#
# Sidekiq::Shutdown is no failure: the job goes back to its queue and runs again as the same attempt; nothing is told.
module Jobtide
  module Sidekiq
    class Running
      STARTED = Jobtide.site("sidekiq.started")
      FINISHED = Jobtide.site("sidekiq.finished")
      RAISED = Jobtide.site("sidekiq.raised")
      LEFT = Jobtide.site("sidekiq.left")
      # What a thread ran last; `run` is nil where ActiveJob's hooks tell it.
      State = Struct.new(:jid, :job, :run, :context)

      # Raised when the process ends, or when it interrupts an iterable job.
      Backend.takes_back do
        [::Sidekiq::Shutdown, ::Sidekiq::JobRetry::Skip, (::Sidekiq::Job::Interrupted if defined?(::Sidekiq::Job::Interrupted))].compact
      end

      @held = {}
      @processed = @failed = 0

      class << self
        # What this process holds, and what it has done, for the heartbeat. `worker_id` is Sidekiq's identity.
        attr_accessor :worker_id

        def held
          @held.values.map { |state| Held.new(state.job.queue, state.job.id, state.job.attempt, state.run ? state.run.started_text : nil) }
        end

        def counters
          { "processed" => @processed, "failed" => @failed }
        end

        # What this thread ran last, if it was this job.
        def state_of(jid)
          state = Thread.current[:jobtide_sidekiq]
          state if state && state.jid == jid
        end

        def started(payload, queue)
          return unless Jobtide.emitter.enabled

          job = Payload.job(payload, queue)
          state = State.new(payload["jid"], job)
          if payload["wrapped"] && Backend.tells?("active_job")
            state.context = Backend.current = context_of(payload, job)
          else
            state.run = start(job, Payload.enqueued_at_us(payload), Payload.run_at_us(payload))
          end
          thread = Thread.current
          thread[:jobtide_running_id] = job.id
          thread[:jobtide_run] = state.run
          thread[:jobtide_sidekiq] = @held[thread] = state
        end

        def context_of(payload, job)
          Backend::Context.new(Payload::SYSTEM, job.id, worker_id, Payload.attempt(payload) - 1, Payload.enqueued_at_us(payload), Payload.run_at_us(payload))
        end

        def start(job, enqueued_at_us, run_at_us)
          Jobtide.emitter.job_started(job, @worker_id, enqueued_at_us: enqueued_at_us, run_at_us: run_at_us)
        end

        def finished(state)
          @processed += 1
          run_of(state)&.finished
          Backend.settle(state.context) if state.context
          left
        end

        def raised(state, exception)
          return if Backend.requeued?(exception)

          @processed += 1
          @failed += 1
          run_of(state)&.failed(Jobtide.emitter.error(exception))
        end

        # The run to end: nil where ActiveJob ended it. It tells nothing of a job that it could not even load.
        def run_of(state)
          context = state.context
          state.run || (start(state.job, context.enqueued_at_us, context.run_at_us) unless context.told)
        end

        def left
          thread = Thread.current
          @held.delete(thread)
          thread[:jobtide_backend] = thread[:jobtide_run] = thread[:jobtide_running_id] = nil
          true
        end
      end

      # Sidekiq 7 gives every middleware its configuration.
      attr_accessor :config

      def call(_worker, payload, queue)
        state = Jobtide.guard(STARTED) { Running.started(payload, queue) }
        begin
          result = yield
        rescue Exception => e # rubocop:disable Lint/RescueException -- told and raised again, whatever it is
          Jobtide.guard(RAISED) { Running.raised(state, e) } if state
          raise
        end
        left = Jobtide.guard(FINISHED) { Running.finished(state) } if state
        result
      ensure
        Jobtide.guard(LEFT) { Running.left } unless left
      end
    end
  end
end
