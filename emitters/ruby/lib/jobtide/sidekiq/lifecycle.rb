# frozen_string_literal: true

require "jobtide/backend"
require "jobtide/guard"
require "jobtide/sidekiq/running"
require "jobtide/sidekiq/fullness"

# A Sidekiq process as a worker: online when Sidekiq has started, stopping when it is quiet, offline at the very end (its
# jobs end after Sidekiq's own :shutdown event). Heartbeats have the emitter's timer: 6.x has none to hook.
module Jobtide
  module Sidekiq
    module Lifecycle
      STARTED = Jobtide.site("sidekiq.startup")
      STOPPING = Jobtide.site("sidekiq.quiet")

      class << self
        attr_reader :snapshots

        def started(config)
          Jobtide.guard(STARTED) do
            next unless Jobtide.emitter.enabled

            Running.worker_id = identity
            @worker = Jobtide.emitter.worker(
              Payload::SYSTEM, identity, queues: queues(config), concurrency: concurrency(config), version: ::Sidekiq::VERSION, tag: tag(config)
            ) { Running.held }
            @worker&.counters = Running.method(:counters)
            @snapshots = Fullness.new(identity, Jobtide.emitter.settings).snapshots.start
          end
        end

        def stopping
          Jobtide.guard(STOPPING) { @worker&.stopping }
        end

        # Sidekiq's own name for this process.
        def identity
          @identity ||= Object.new.extend(defined?(::Sidekiq::Component) ? ::Sidekiq::Component : ::Sidekiq::Util).identity
        end

        def queues(config)
          return Array(::Sidekiq.options[:queues]).uniq unless config.respond_to?(:capsules)

          config.capsules.values.flat_map(&:queues).uniq
        end

        def concurrency(config)
          config.respond_to?(:total_concurrency) ? config.total_concurrency : ::Sidekiq.options[:concurrency].to_i
        end

        def tag(config)
          config.respond_to?(:capsules) ? config[:tag] : ::Sidekiq.options[:tag]
        end
      end
    end
  end
end
