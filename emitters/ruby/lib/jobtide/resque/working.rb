# frozen_string_literal: true

require "jobtide/broadcasts"
require "jobtide/guard"
require "jobtide/handover"
require "jobtide/resque/payload"

# A Resque worker and the jobs it runs, each in a child of its own (or in itself, with FORK_PER_JOB=false).
#
# The child tells start and end. Of a child that was killed the worker tells the failure, when Resque does (DirtyExit).
module Jobtide
  module Resque
    module Working
      STARTED = Jobtide.site("resque.started")
      FINISHED = Jobtide.site("resque.finished")
      RAISED = Jobtide.site("resque.raised")
      LEFT = Jobtide.site("resque.left")
      LOST = Jobtide.site("resque.lost")
      ONLINE = Jobtide.site("resque.startup")
      TAKEN = Jobtide.site("resque.taken")
      STOPPING = Jobtide.site("resque.shutdown")
      OFFLINE = Jobtide.site("resque.unregister")
      # What this process runs; `run` is nil where ActiveJob's hooks tell it.
      State = Struct.new(:job, :run, :context)

      # Prepended to Resque::Job.
      module Perform
        def perform
          state = Jobtide.guard(STARTED) { Working.started(self) }
          begin
            result = super
          rescue Exception => e # rubocop:disable Lint/RescueException -- told and raised again, whatever it is
            Jobtide.guard(RAISED) { Working.raised(state, e) } if state
            raise
          end
          Jobtide.guard(FINISHED) { Working.finished(state, result) } if state
          result
        ensure
          Jobtide.guard(LEFT) { Working.left } if state
        end

        def fail(exception)
          Jobtide.guard(LOST) { Working.lost(self, exception) }
          super
        end
      end

      # Prepended to Resque::Worker.
      module Life
        def startup(*)
          result = super
          Jobtide.guard(ONLINE) { Working.online(self) }
          result
        end

        def working_on(job)
          Jobtide.guard(TAKEN) { Working.taken(job) }
          super
        end

        def done_working(*)
          result = super
          Jobtide.guard(TAKEN) { Working.taken(nil) }
          result
        end

        # Called in a signal handler, where no lock may be taken: another thread tells it.
        def shutdown
          Jobtide.guard(STOPPING) { Working.stopping }
          super
        end

        def unregister_worker(*)
          result = super
          Jobtide.guard(OFFLINE) { Working.offline }
          result
        end
      end

      @held = []

      class << self
        def started(resque_job)
          return unless Jobtide.emitter.enabled

          payload = resque_job.payload
          job = Payload.job(payload, resque_job.queue)
          context = Backend.current = Backend::Context.new(Payload::SYSTEM, job.id, worker_id(resque_job), 0, Payload.enqueued_at_us(payload))
          Backend.running_id = job.id
          Backend.run = run = start(job, context) unless Payload.wrapped?(payload) && Backend.tells?("active_job")
          State.new(job, run, context)
        end

        # `performed` is false when a before_perform hook said DontPerform.
        def finished(state, performed)
          run = run_of(state)
          performed == false ? run&.discarded("DontPerform") : run&.finished
          Backend.settle(state.context)
        end

        def raised(state, exception)
          error = Jobtide.emitter.error(exception)
          run_of(state)&.failed(error)
          Jobtide.emitter.job_dead(state.job, error)
        end

        # In a child this is the last thing that is said: `exit!` follows.
        def left
          Backend.current = Backend.run = nil
          Jobtide.emitter.sign_off if @pid && @pid != ::Process.pid
        end

        # The worker saw a child die.
        def lost(resque_job, exception)
          return unless defined?(::Resque::DirtyExit) && exception.is_a?(::Resque::DirtyExit) && Jobtide.emitter.enabled

          job = Payload.job(resque_job.payload, resque_job.queue)
          error = Jobtide.emitter.error(exception)
          at_us = @taken_us || Moments.now_us
          Run.new(Jobtide.emitter, job, worker_id(resque_job), at_us, Moments.now_us - at_us).failed(error)
          Jobtide.emitter.job_dead(job, error)
        end

        def online(worker)
          emitter = Jobtide.emitter
          return unless emitter.enabled

          @pid = ::Process.pid
          if worker.fork_per_job?
            emitter.hand_over(@handover = Handover.new(emitter.settings))
            emitter.reach unless emitter.settings.broker.empty? # children place their last words in partitions
          end
          queues = worker.respond_to?(:queues) ? worker.queues : []
          @worker = emitter.worker(Payload::SYSTEM, worker.to_s, queues: queues, concurrency: 1, version: ::Resque::VERSION.to_s) { @held }
        end

        def taken(resque_job)
          return @held = [] if resque_job.nil?

          @taken_us = Moments.now_us
          job = Payload.job(resque_job.payload, resque_job.queue)
          @held = [Held.new(job.queue, job.id, job.attempt, Moments.text(@taken_us))]
        end

        def stopping
          worker = @worker
          Background.start("jobtide-stopping") { worker.stopping } if worker && @pid == ::Process.pid
        end

        def offline
          return unless @pid == ::Process.pid

          Jobtide.emitter.end_worker
          @handover&.close
        end

        private

        def start(job, context)
          Jobtide.emitter.job_started(job, context.worker_id, enqueued_at_us: context.enqueued_at_us)
        end

        def run_of(state)
          state.run || (start(state.job, state.context) unless state.context.told)
        end

        def worker_id(resque_job)
          resque_job.worker ? resque_job.worker.to_s : Backend.process_id
        end
      end
    end
  end
end
