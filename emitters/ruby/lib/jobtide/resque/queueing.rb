# frozen_string_literal: true

require "securerandom"
require "jobtide/guard"
require "jobtide/resque/payload"

# What enters Resque's queues, told after Redis took it; and what our mark on a job would otherwise break.
module Jobtide
  module Resque
    module Queueing
      BEFORE = Jobtide.site("resque.before_push")
      AFTER = Jobtide.site("resque.after_push")
      DESTROY = Jobtide.site("resque.destroy")

      # Prepended to Resque itself.
      module Push
        def push(queue, item)
          marked = Jobtide.guard(BEFORE) { Queueing.mark(item) }
          result = super(queue, marked || item)
          Jobtide.guard(AFTER) { Jobtide.emitter.job_enqueued(Payload.job(marked, queue), at_us: Payload.enqueued_at_us(marked)) } if marked
          result
        end
      end

      # Prepended to Resque::Job's class methods. Resque removes jobs by class and arguments by the exact bytes, which the
      # mark has changed: those are looked for.
      module Destroy
        def destroy(queue, klass, *args)
          removed = super
          return removed if args.empty?

          removed + (Jobtide.guard(DESTROY) { Queueing.remove_marked(queue, klass.to_s, args) } || 0)
        end
      end

      # The item with an id and the time; nil when the emitter is off.
      def self.mark(item)
        return unless Jobtide.emitter.enabled

        { Payload::ID => SecureRandom.hex(12), Payload::AT => Moments.now_us / 1_000_000.0 }.merge(item)
      end

      def self.remove_marked(queue, klass, args)
        wanted = ::Resque.decode(::Resque.encode(args))
        ::Resque.data_store.everything_in_queue(queue).sum do |text|
          payload = ::Resque.decode(text)
          next 0 unless payload[Payload::ID] && payload["class"] == klass && payload["args"] == wanted

          ::Resque.data_store.remove_from_queue(queue, text).to_i.tap { |count| count.positive? && Jobtide.emitter.job_cancelled(Payload.job(payload, queue), "destroyed") }
        end
      end
    end
  end
end
