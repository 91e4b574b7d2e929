# frozen_string_literal: true

require "json"
require "jobtide/guard"
require "jobtide/moments"
require "jobtide/snapshots"

# How full Sidekiq's queues are, from one elected process of all that share a Redis.
#
# The election is a key with a time limit that the winner renews. Scheduled, retry and dead jobs are told per queue as long
# as there are few enough to look through; Sidekiq keeps them in sets across queues.
module Jobtide
  module Sidekiq
    class Fullness
      SITE = Jobtide.site("sidekiq.snapshot")
      KEY = "jobtide:snapshots"
      MAX_SCANNED = 1_000
      SETS = { "scheduled" => "schedule", "retry" => "retry", "dead" => "dead" }.freeze

      def initialize(identity, settings)
        @identity = identity
        @lease_ms = settings.snapshot_ms * 3
      end

      def snapshots
        Snapshots.new(Payload::SYSTEM, SITE, method(:elected?), method(:facts))
      end

      # Whether this process holds the key, for the next three turns.
      def elected?
        ::Sidekiq.redis do |redis|
          next true if redis.call("SET", KEY, @identity, "NX", "PX", @lease_ms.to_s)

          mine = redis.call("GET", KEY) == @identity
          redis.call("PEXPIRE", KEY, @lease_ms.to_s) if mine
          mine
        end
      end

      # One hash for each queue.
      def facts
        counts = SETS.transform_values { |set| per_queue(set) }
        work_set = defined?(::Sidekiq::WorkSet) ? ::Sidekiq::WorkSet : ::Sidekiq::Workers # its name before 6.5
        running = work_set.new.map { |_, _, work| work.respond_to?(:queue) ? work.queue : work["queue"] }.tally
        ::Sidekiq::Queue.all.map { |queue| of(queue, counts).merge("running" => running.fetch(queue.name, 0)) }
      end

      private

      def of(queue, counts)
        size = queue.size
        facts = { "queue" => queue.name, "ready" => size }
        facts["oldest_ready_at"] = Moments.text(Moments.now_us - (queue.latency * 1_000_000).round) if size.positive?
        facts["paused"] = queue.paused? ? true : false if queue.respond_to?(:paused?)
        counts.each { |member, per| facts[member] = per.fetch(queue.name, 0) if per }
        facts
      end

      # queue => jobs of it in a sorted set; nil when there are too many to look through.
      def per_queue(set)
        ::Sidekiq.redis do |redis|
          next if redis.call("ZCARD", set).to_i > MAX_SCANNED

          redis.call("ZRANGE", set, "0", "-1").map { |json| JSON.parse(json)["queue"] }.tally
        end
      rescue JSON::ParserError
        nil
      end
    end
  end
end
