# frozen_string_literal: true

require "jobtide/guard"
require "jobtide/sidekiq/payload"

# What enters Sidekiq's queues, told after Redis took it: prepended to Sidekiq::Client.
#
# Not a client middleware: those run before the push, and would tell of jobs that Redis refused or another middleware
# stopped. Everything passes here, push, push_bulk, and the poller that moves scheduled jobs and retries into a queue.
module Jobtide
  module Sidekiq
    module Pushing
      BEFORE = Jobtide.site("sidekiq.before_push")
      AFTER = Jobtide.site("sidekiq.after_push")

      def self.before(payloads)
        return unless Jobtide.emitter.enabled && !faked?

        parent = Backend.running_id
        payloads.map do |payload|
          at = payload["at"]
          payload[Payload::RUN_AT] = at if at
          payload[Payload::PARENT] ||= parent if parent && payload["jid"] != parent
          at
        end
      end

      def self.after(payloads, asked)
        payloads.zip(asked) do |payload, at|
          job = Payload.job(payload)
          if at
            Jobtide.emitter.job_scheduled(job, Moments.us(at))
          else
            Jobtide.emitter.job_enqueued(job, at_us: Payload.enqueued_at_us(payload), run_at_us: Payload.run_at_us(payload))
          end
        end
      end

      # An app's tests: nothing goes to Redis.
      def self.faked?
        defined?(::Sidekiq::Testing) && ::Sidekiq::Testing.enabled?
      end

      private

      def raw_push(payloads)
        asked = Jobtide.guard(BEFORE) { Pushing.before(payloads) }
        result = super
        Jobtide.guard(AFTER) { Pushing.after(payloads, asked) } if asked
        result
      end
    end
  end
end
