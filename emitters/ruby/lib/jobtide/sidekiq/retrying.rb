# frozen_string_literal: true

require "delegate"
require "jobtide/guard"
require "jobtide/sidekiq/payload"
require "jobtide/sidekiq/running"

# What Sidekiq decides after a failure: another try, with its time, or none. Prepended to Sidekiq::JobRetry.
#
# The time of the retry is what Sidekiq writes into its retry set: 6.4 hands it out as a delay, later versions only to
# Redis, so that the write is watched there. Dead is told by a death handler, which Sidekiq calls for API kills too.
module Jobtide
  module Sidekiq
    module Retrying
      BEFORE = Jobtide.site("sidekiq.before_retry")
      WATCH = Jobtide.site("sidekiq.watch_retry")
      AFTER = Jobtide.site("sidekiq.after_retry")
      DIED = Jobtide.site("sidekiq.died")
      # A decision in the making.
      Decision = Struct.new(:job, :msg, :exception, :retry_at_us, :dead)

      # Redis, with an eye on what goes into the retry set.
      class Watched < SimpleDelegator
        def initialize(connection, decision)
          super(connection)
          @decision = decision
        end

        def zadd(key, *rest)
          result = __getobj__.zadd(key, *rest)
          Jobtide.guard(WATCH) { @decision.retry_at_us = Moments.us(Float(rest[0])) } if key == "retry"
          result
        end
      end

      class << self
        def before(msg, queue, exception)
          return unless Jobtide.emitter.enabled

          state = Running.state_of(msg["jid"]) || failed_before_it_ran(msg, queue, exception)
          msg.delete(Payload::RUN_AT) # it was this attempt's, not the next one's
          Thread.current[:jobtide_decision] = Decision.new(state.job, msg, exception)
        end

        def after(decision)
          if decision.retry_at_us
            Jobtide.emitter.job_retry_scheduled(decision.job, decision.retry_at_us)
          elsif !decision.dead # `sidekiq_retry_in` said :discard; 6.5 to 7.0 tell nobody
            Jobtide.emitter.job_dead(decision.job, Jobtide.emitter.error(decision.exception), reason: "discarded")
          end
        end

        # The death handler. In the thread of the attempt it is that attempt's end; elsewhere somebody killed the waiting one.
        def died(msg, exception)
          Jobtide.guard(DIED) do
            next unless Jobtide.emitter.enabled

            decision = Thread.current[:jobtide_decision]
            state = decision || Running.state_of(msg["jid"])
            decision.dead = true if decision
            more = msg["discarded_at"] ? { reason: "discarded" } : {}
            Jobtide.emitter.job_dead(state ? state.job : Payload.job(msg), Jobtide.emitter.error(exception), **more)
          end
        end

        # Its class is missing, or the app could not be loaded: Sidekiq counts it as an attempt, so do we.
        def failed_before_it_ran(msg, queue, exception)
          job = Payload.job(msg, queue)
          run = Jobtide.emitter.job_started(job, Running.worker_id, enqueued_at_us: Payload.enqueued_at_us(msg), run_at_us: Payload.run_at_us(msg))
          run.failed(Jobtide.emitter.error(exception))
          Running::State.new(msg["jid"], job, run, nil)
        end

        def decided
          Thread.current[:jobtide_decision] = nil
        end
      end

      private

      # Sidekiq 6.4.
      def attempt_retry(worker, msg, queue, exception)
        jobtide_decide(msg, queue, exception) { super }
      end

      # Sidekiq 6.5 and later.
      def process_retry(jobinst, msg, queue, exception)
        jobtide_decide(msg, queue, exception) { super }
      end

      def jobtide_decide(msg, queue, exception)
        decision = Jobtide.guard(BEFORE) { Retrying.before(msg, queue, exception) }
        result = yield
        Jobtide.guard(AFTER) { Retrying.after(decision) } if decision
        result
      ensure
        Retrying.decided
      end

      def delay_for(*args)
        delay = super
        decision = Thread.current[:jobtide_decision]
        return delay unless decision && delay.is_a?(Integer)

        Jobtide.guard(WATCH) do
          decision.retry_at_us = Moments.now_us + (delay * 1_000_000)
          decision.msg[Payload::RUN_AT] = decision.retry_at_us / 1_000_000.0
        end
        delay
      end

      def redis(&block)
        decision = Thread.current[:jobtide_decision]
        return super unless decision && block

        super { |connection| block.call(Jobtide.guard(WATCH) { Watched.new(connection, decision) } || connection) }
      end
    end
  end
end
