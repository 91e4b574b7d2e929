# frozen_string_literal: true

require "jobtide/moments"
require "jobtide/packs"

# Where events to deliver come from: the ring first, then what was spooled, then what dead processes and living children
# have left in files. Used by the background thread.
module Jobtide
  class Sources
    WINDOW_BYTES = 256 << 10
    ORPHANS_S = 5.0 # between two looks for files of dead processes
    CHILDREN_S = 0.2 # and of living children
    # Texts on their way; `order` is set where they come from the ring, `done` is called once they are acknowledged.
    Window = Struct.new(:texts, :order, :done)

    # How often all files have been looked through.
    attr_reader :looks

    def initialize(ring, spool)
      @ring = ring
      @spool = spool
      @orphans = spool&.orphans
      @every_s = ORPHANS_S
      @next_look_s = 0.0
      @looks = 0
    end

    # Living children write their events where this finds them.
    def children=(orphans)
      @orphans = orphans
      @every_s = CHILDREN_S
      @children = true
      look
    end

    def children?
      @children
    end

    # Files are to be looked through at once.
    def look
      @next_look_s = 0.0
    end

    # When files are due, if there are any to look for: a monotonic time.
    def due_s
      @orphans ? @next_look_s : Float::INFINITY
    end

    def empty?
      @ring.events.zero? && !@spool&.pending? && Moments.monotonic_s < due_s
    end

    # What to deliver next; nil when there is nothing.
    def take
      records = @ring.take(WINDOW_BYTES)
      return Window.new(records.map { |record| Packs.text(record, @ring.epoch) }, records[-1].order) unless records.empty?

      spooled || left_behind
    end

    private

    def spooled
      return unless @spool&.pending?

      texts, offset = @spool.read(WINDOW_BYTES)
      return @spool.give_up if texts.empty?

      Window.new(texts, nil, -> { @spool.delivered(offset) })
    end

    def left_behind
      return unless @orphans && Moments.monotonic_s >= @next_look_s

      batch = @orphans.take(WINDOW_BYTES)
      return Window.new(batch.texts, nil, -> { @orphans.delivered(batch) }) if batch

      @next_look_s = Moments.monotonic_s + @every_s
      @looks += 1
      nil
    end
  end
end
