# frozen_string_literal: true

require "jobtide/background"
require "jobtide/guard"
require "jobtide/packs"

# Moves events from a ring that is half full to the spool, in a thread of its own: the one that delivers may be waiting for
# an answer just then. Without room on disk the ring keeps them, and drops what it must.
module Jobtide
  class Spiller
    TURN = Jobtide.site("spiller.turn")
    BATCH_BYTES = 64 << 10

    attr_reader :spooled

    def initialize(ring, spool)
      @ring = ring
      @spool = spool
      @spooled = 0
      @lock = Mutex.new
      @turns = Queue.new
      ring.when_crowded { wake }
    end

    # Called in the thread of a hook.
    def wake
      @thread ||= start
      @turns << true if @turns.empty?
    end

    # Down to a ring that is not half full; with `everything`, to an empty one.
    def spill(everything: false)
      @lock.synchronize do
        while (everything ? @ring.events.positive? : @ring.filling?) && @spool.room?(BATCH_BYTES * 2)
          break if (records = @ring.take(BATCH_BYTES)).empty?

          keep(records.map { |record| Packs.text(record, @ring.epoch) })
        end
      end
    end

    # These, as many as there is room for; returns the rest.
    def keep(texts)
      kept = @spool.write(texts)
      @spooled += kept
      texts.drop(kept).tap { |rest| rest.size.times { @ring.lost } }
    end

    private

    def start
      Background.start("jobtide-spiller") { Jobtide.guard(TURN) { spill } while @turns.pop }
    end
  end
end
