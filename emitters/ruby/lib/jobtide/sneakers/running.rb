# frozen_string_literal: true

require "json"
require "securerandom"
require "jobtide/arguments"
require "jobtide/backend"
require "jobtide/guard"
require "jobtide/moments"

# A message in a Sneakers worker's thread, told by a middleware. What the worker returns is the outcome: :requeue puts it back
# as the same attempt, :reject and an error are handed to the handler, which may try again.
module Jobtide
  module Sneakers
    class Running
      WORKER = Jobtide.site("sneakers.worker")
      STARTED = Jobtide.site("sneakers.started")
      FINISHED = Jobtide.site("sneakers.finished")
      RAISED = Jobtide.site("sneakers.raised")
      LEFT = Jobtide.site("sneakers.left")
      ONLINE = Jobtide.site("sneakers.run")
      OFFLINE = Jobtide.site("sneakers.stop")
      MAXRETRY = "Sneakers::Handlers::Maxretry"
      MAX_RETRIES = 5 # what Maxretry has without settings
      RETRY_MS = 60_000
      # The message in hand; `run` is nil where ActiveJob's hooks tell it.
      State = Struct.new(:job, :run, :context, :worker, :maxretry)

      # Prepended to Sneakers::Worker: the middleware is not told whose message it has.
      module Life
        def process_work(*args)
          Jobtide.guard(WORKER) { Thread.current[:jobtide_sneakers] = self }
          super
        end

        def run
          result = super
          Jobtide.guard(ONLINE) { Running.online(self) }
          result
        end

        def stop
          Jobtide.guard(ONLINE) { HAND.stopping }
          result = super
          Jobtide.guard(OFFLINE) { Running.offline(self) }
          result
        end
      end

      def initialize(app, *_args)
        @app = app
      end

      def call(message, delivery_info, metadata, handler)
        state = Jobtide.guard(STARTED) { Running.started(message, metadata, handler) }
        begin
          result = @app.call(message, delivery_info, metadata, handler)
        rescue Exception => e # rubocop:disable Lint/RescueException -- told and raised again, whatever it is
          Jobtide.guard(RAISED) { Running.raised(state, e) } if state
          raise
        end
        Jobtide.guard(FINISHED) { Running.returned(state, result) } if state
        result
      ensure
        Jobtide.guard(LEFT) { Running.left(state) }
      end

      @working = []

      class << self
        def online(worker)
          @working << worker
          HAND.online(SYSTEM, queues: [worker.queue.name], concurrency: worker.opts[:threads] || 1, version: ::Sneakers::VERSION)
        end

        def offline(worker)
          @working.delete(worker)
          HAND.offline if @working.empty?
        end

        def started(message, metadata, handler)
          worker = Thread.current[:jobtide_sneakers]
          return unless worker && Jobtide.emitter.enabled

          headers = metadata[:headers] || {}
          tries = failures(headers, worker.queue.name)
          wrapped = active_job(message)
          name, id, before = wrapped || [worker.class.name, metadata[:message_id] || SecureRandom.hex(12), 0]
          job = Jobtide.emitter.job(SYSTEM, worker.queue.name, name, id, before + tries + 1, **more(name, message, handler, worker))
          state = State.new(job, nil, nil, worker, maxretry?(handler))
          enqueued_us = headers[Publishing::AT] if tries.zero?
          if wrapped && Backend.tells?("active_job")
            state.context = Backend.current = Backend::Context.new(SYSTEM, id, HAND.worker_id, tries, enqueued_us)
          else
            state.run = HAND.start(job, enqueued_at_us: enqueued_us)
          end
          state
        end

        def returned(state, result)
          case state.worker.opts[:ack] == false ? :ack : result
          when :requeue then nil
          when :reject then failed(state, { "class" => "Rejected" })
          when :error then failed(state, { "class" => "Error" })
          else
            run_of(state)&.finished
            Backend.settle(state.context)
          end
        end

        def left(state)
          HAND.release(state.run) if state&.run
          Backend.current = Backend.run = nil
        end

        def raised(state, exception)
          failed(state, Jobtide.emitter.error(exception))
        end

        # [class, id, executions] of a wrapped ActiveJob: the adapter publishes it as JSON.
        def active_job(message)
          message = JSON.parse(message) if message.is_a?(String) && message.start_with?("{") && message.include?('"job_class"')
          Backend.active_job(message)
        rescue JSON::ParserError
          nil
        end

        private

        def failed(state, error)
          run_of(state)&.failed(error)
          again = state.maxretry && state.job.attempt <= max_retries(state.worker)
          again ? Jobtide.emitter.job_retry_scheduled(state.job, Moments.now_us + ((state.worker.opts[:retry_timeout] || RETRY_MS) * 1000)) : Jobtide.emitter.job_dead(state.job, error)
          HAND.release(state.run, failed: true) if state.run
        end

        # The run to end: nil where ActiveJob ended it.
        def run_of(state)
          state.run || (HAND.start(state.job) unless state.context&.told)
        end

        def more(name, message, handler, worker)
          facts = {}
          facts[:max_attempts] = max_retries(worker) + 1 if maxretry?(handler)
          preview = Arguments.current.preview(name, [message])
          facts[:args_preview] = preview if preview
          facts
        end

        def maxretry?(handler)
          handler.class.name == MAXRETRY
        end

        def max_retries(worker)
          worker.opts[:retry_max_times] || MAX_RETRIES
        end

        # How often the message was dead-lettered from this queue, as Maxretry counts.
        def failures(headers, queue)
          deaths = Array(headers["x-death"]).select { |death| death["queue"] == queue }
          deaths.sum { |death| death["count"] || 1 }
        end
      end
    end
  end
end
