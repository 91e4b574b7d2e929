# frozen_string_literal: true

require "jobtide/arguments"
require "jobtide/backend"
require "jobtide/guard"
require "jobtide/moments"

# Messages in a Shoryuken worker: a server middleware. A batch worker has up to ten in hand at once, with one outcome.
module Jobtide
  module Shoryuken
    class Running
      STARTED = Jobtide.site("shoryuken.started")
      FINISHED = Jobtide.site("shoryuken.finished")
      RAISED = Jobtide.site("shoryuken.raised")
      LEFT = Jobtide.site("shoryuken.left")
      # One message in hand; `run` is nil where ActiveJob's hooks tell it.
      State = Struct.new(:job, :run, :context, :message)

      def call(worker, queue, sqs_msg, body)
        states = Jobtide.guard(STARTED) { Running.started(worker, queue, sqs_msg, body) } || []
        begin
          result = yield
        rescue Exception => e # rubocop:disable Lint/RescueException -- told and raised again, whatever it is
          Jobtide.guard(RAISED) { Running.raised(worker, queue, states, e) }
          raise
        end
        Jobtide.guard(FINISHED) { Running.finished(states) }
        result
      ensure
        Jobtide.guard(LEFT) { Running.left(states) }
      end

      class << self
        def started(worker, queue, sqs_msg, body)
          return unless Jobtide.emitter.enabled

          messages, bodies = sqs_msg.is_a?(Array) ? [sqs_msg, body] : [[sqs_msg], [body]] # not Array(): a message may be a Struct
          messages.zip(bodies).map { |message, one| begin_one(worker, queue, message, one) }
        end

        def finished(states)
          states.each do |state|
            run_of(state)&.finished
            Backend.settle(state.context)
          end
        end

        def raised(worker, queue, states, exception)
          error = Jobtide.emitter.error(exception)
          states.each do |state|
            run_of(state)&.failed(error)
            max = Queues.max_receives(queue)
            max && state.job.attempt >= max ? Jobtide.emitter.job_dead(state.job, error) : Jobtide.emitter.job_retry_scheduled(state.job, again_us(worker, queue, state))
            HAND.release(state.run, failed: true) if state.run
          end
        end

        def left(states)
          states.each { |state| HAND.release(state.run) if state.run }
          Backend.current = Backend.run = nil
        end

        private

        def begin_one(worker, queue, message, body)
          attempt = message.attributes["ApproximateReceiveCount"].to_i
          wrapped = Backend.active_job(body)
          name, id, before = wrapped || [worker.class.name, message.message_id, 0]
          preview = Arguments.current.preview(name, [body])
          job = Jobtide.emitter.job(SYSTEM, queue, name, id, before + [attempt, 1].max, **(preview ? { args_preview: preview } : {}))
          enqueued_us = attempt > 1 ? nil : sent_us(message)
          due_us = attempt > 1 ? nil : due_us(message)
          unless wrapped && Backend.tells?("active_job")
            return State.new(job, HAND.start(job, enqueued_at_us: enqueued_us, run_at_us: due_us), nil, message)
          end

          context = Backend.current = Backend::Context.new(SYSTEM, id, HAND.worker_id, [attempt, 1].max - 1, enqueued_us, due_us)
          State.new(job, nil, context, message)
        end

        # The run to end: nil where ActiveJob ended it.
        def run_of(state)
          state.run || (HAND.start(state.job) unless state.context&.told)
        end

        # When SQS hands the message out again.
        def again_us(worker, queue, state)
          delay_s = retry_interval_s(worker, state.job.attempt) || Queues.visibility_timeout_s(queue)
          Moments.now_us + (delay_s * 1_000_000)
        end

        # As Shoryuken's ExponentialBackoffRetry chooses it; it has none for batches.
        def retry_interval_s(worker, attempt)
          intervals = worker.class.get_shoryuken_options["retry_intervals"]
          return if intervals.nil? || worker.class.get_shoryuken_options["batch"]

          interval = intervals.respond_to?(:call) ? intervals.call(attempt) : Array(intervals)[attempt - 1] || Array(intervals).last
          interval&.to_i
        end

        def sent_us(message)
          stamp = message.attributes["SentTimestamp"]
          stamp.to_i * 1000 if stamp
        end

        def due_us(message)
          mark = (message.message_attributes || {})[Sending::RUN_AT]
          mark.string_value.to_i * 1000 if mark
        end
      end
    end
  end
end
