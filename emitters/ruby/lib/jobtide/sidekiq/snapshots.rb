# frozen_string_literal: true

require "json"
require "jobtide/background"
require "jobtide/guard"
require "jobtide/sidekiq/payload"

# How full Sidekiq's queues are, every ten seconds, from one elected process of all that share a Redis.
#
# The election is a key with a time limit that the winner renews. Scheduled, retry and dead jobs are told per queue as long
# as there are few enough to look through; Sidekiq keeps them in sets across queues. Own thread, because Redis may wait.
module Jobtide
  module Sidekiq
    class Snapshots
      TURN = Jobtide.site("sidekiq.snapshot")
      KEY = "jobtide:snapshots"
      MAX_SCANNED = 1_000
      SETS = { "scheduled" => "schedule", "retry" => "retry", "dead" => "dead" }.freeze

      def initialize(identity, settings)
        @identity = identity
        @interval_s = settings.snapshot_ms / 1000.0
      end

      def start
        require "sidekiq/api"
        Background.start("jobtide-snapshots") { loop { turn } }
      end

      # One look, if this process is the one that looks; then a pause.
      def turn
        Jobtide.guard(TURN) do
          Thread.handle_interrupt(Object => :immediate) { tell if elected? }
        end
        sleep @interval_s
      end

      # Whether this process holds the key, for the next three turns.
      def elected?
        ms = (@interval_s * 3000).to_i
        ::Sidekiq.redis do |redis|
          next true if redis.call("SET", KEY, @identity, "NX", "PX", ms.to_s)

          mine = redis.call("GET", KEY) == @identity
          redis.call("PEXPIRE", KEY, ms.to_s) if mine
          mine
        end
      end

      def tell
        emitter = Jobtide.emitter
        counts = SETS.transform_values { |set| per_queue(set) }
        ::Sidekiq::Queue.all.each do |queue|
          emitter.emit(
            "queue.snapshot.v1", facts(queue, counts), subject: queue.name,
            partitionkey: "#{emitter.settings.tenant}/#{Payload::SYSTEM}/q/#{Bounds.name(queue.name)}"
          )
        end
      end

      private

      def facts(queue, counts)
        size = queue.size
        facts = { "system" => Payload::SYSTEM, "queue" => Bounds.name(queue.name), "ready" => size }
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
