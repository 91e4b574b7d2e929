# frozen_string_literal: true

require "jobtide/broadcasts"
require "jobtide/moments"
require "jobtide/ring"

# What a process says of its own completeness: `emitter.stats`, every ten seconds and at a clean end.
#
# The next number of every lane, so that the stream knows what it has not seen, even at the end; and how many events were
# made, dropped, spooled and truncated. An idle process repeats nothing.
module Jobtide
  class Statistics
    def initialize(emitter)
      @emitter = emitter
      @ring = emitter.ring
      @interval_ms = emitter.settings.stats_ms
      @announced = Array.new(Lanes::COUNT, 0)
      @next = Moments.monotonic_s + (@interval_ms / 1000.0)
    end

    # Says what is new at the monotonic time `now`, if it is time; returns when to come again.
    def beat(now)
      if now >= @next
        @next = now + (@interval_ms / 1000.0)
        say(clean: false) if @emitter.connected?
      end
      @next
    end

    # Says what is new; `clean` says everything, for the last time.
    def say(clean:)
      @announced = @ring.next.map { |following| following.zero? ? 0 : -1 } if clean
      key = "#{@emitter.settings.tenant}/emitter/#{@ring.epoch}"
      Broadcasts.stats(@ring.next.dup, @announced, @emitter.partitions).each do |lane, members|
        data = totals.merge(members, "clean" => clean, "interval_ms" => @interval_ms)
        data["epoch"] = @ring.epoch if lane == UNNUMBERED
        @emitter.emit("emitter.stats.v1", data, partitionkey: key, lane: lane, rank: Rank::FINAL)
      end
    end

    private

    # Counts of this epoch, with the event that says them.
    def totals
      { "emitted" => @ring.last_order + 1, "dropped" => @ring.dropped, "spooled" => @emitter.spooled, "truncated" => @emitter.truncated }
    end
  end
end
