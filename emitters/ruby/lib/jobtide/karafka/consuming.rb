# frozen_string_literal: true

require "jobtide/backend"
require "jobtide/moments"

# A batch in a Karafka consumer, by the events of Karafka's monitor. A consumer has one batch at a time.
module Jobtide
  module Karafka
    module Consuming
      ACTIVE_JOB = "Karafka::ActiveJob::Consumer"
      # What a consumer has in hand, or had when it failed: until Karafka says what becomes of it.
      State = Struct.new(:job, :run, :error)

      @states = {}.compare_by_identity

      class << self
        def started(event)
          consumer = event[:caller]
          return if ours?(consumer)

          messages = consumer.messages
          first = messages.first
          topic = consumer.topic.name
          id = "#{topic}/#{first.partition}/#{first.offset}"
          attempt = attempt_of(consumer)
          job = Jobtide.emitter.job(SYSTEM, topic, consumer.class.name, id, attempt, labels: { "messages" => messages.size.to_s })
          @states[consumer] = State.new(job, HAND.start(job, enqueued_at_us: attempt == 1 ? Moments.us(first.timestamp) : nil))
        end

        def finished(event)
          state = @states.delete(event[:caller])
          end_run(state) { state.run.finished } if state
        end

        def raised(event)
          return unless event[:type] == "consumer.consume.error" && (state = @states[event[:caller]])

          state.error = Jobtide.emitter.error(event[:error])
          end_run(state, failed: true) { state.run.failed(state.error) }
        end

        # `timeout` is in milliseconds.
        def retrying(event)
          state = @states.delete(event[:caller])
          Jobtide.emitter.job_retry_scheduled(state.job, Moments.now_us + (event[:timeout].to_i * 1000)) if state&.error
        end

        def dead(event)
          state = @states.delete(event[:caller])
          Jobtide.emitter.job_dead(state.job, state.error) if state&.error
        end

        def online(_event)
          topics = ::Karafka::App.consumer_groups.flat_map { |group| group.topics.map(&:name) }
          HAND.online(SYSTEM, queues: topics.uniq, concurrency: ::Karafka::App.config.concurrency, version: ::Karafka::VERSION)
        end

        def stopping(_event)
          HAND.stopping
        end

        def offline(_event)
          HAND.offline
        end

        private

        # Its jobs are told by ActiveJob's hooks, one by one.
        def ours?(consumer)
          consumer.class.name == ACTIVE_JOB && Backend.tells?("active_job")
        end

        def attempt_of(consumer)
          return 1 unless consumer.respond_to?(:coordinator) && consumer.coordinator.respond_to?(:pause_tracker)

          [consumer.coordinator.pause_tracker.attempt.to_i, 1].max
        end

        def end_run(state, failed: false)
          yield
          HAND.release(state.run, failed: failed)
        end
      end
    end
  end
end
