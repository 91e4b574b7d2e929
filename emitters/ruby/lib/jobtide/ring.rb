# frozen_string_literal: true

require "securerandom"
require "jobtide/lanes"

# The buffer between hooks and delivery: bounded in events and bytes, it never blocks and never grows.
#
# `put` gives an event its number (per lane, from 0) and keeps it. When the buffer is full the least important and oldest
# event goes: heartbeats first, ends of attempts last. A dropped event has had its number, so the drop is a hole that the
# stream sees. Knows nothing of transports; one ring belongs to one process and one epoch.
module Jobtide
  # How long an event is kept when not all can be.
  module Rank
    BEAT = 0 # said again in a few seconds
    STEP = 1 # a step of an attempt that its outcome mostly implies
    FINAL = 2 # how an attempt ended: said once
  end

  UNNUMBERED = -1 # the lane of events that the receiver places: no epoch, lane and seq on the wire

  # A numbered event. `order` counts all events of the ring; `raw` is its JSON, without what its number adds. Three members,
  # because Ruby keeps those without another allocation.
  Record = Struct.new(:order, :place, :raw) do
    # Lane and number in one integer.
    def self.place(lane, seq)
      ((lane + 1) << 40) | seq
    end

    def lane
      (place >> 40) - 1
    end

    def seq
      place & ((1 << 40) - 1)
    end

    def bytesize
      raw.bytesize
    end
  end

  class Ring
    attr_reader :epoch, :max_events, :max_bytes, :events, :bytes, :dropped, :last_order, :next

    def initialize(max_events, max_bytes)
      @epoch = SecureRandom.hex(8)
      @max_events = max_events
      @max_bytes = max_bytes
      @events = @bytes = @dropped = @last_order = 0
      @next = Array.new(Lanes::COUNT, 0)
      @unnumbered = 0
      @queues = [[], [], []].freeze
      @lock = Mutex.new
    end

    # Numbers an event and keeps it, dropping others if it must; returns its record. `raw` is UTF-8 JSON.
    def put(raw, lane, rank)
      @lock.synchronize do
        seq = number(lane)
        @queues[rank] << (record = Record.new(@last_order, Record.place(lane, seq), raw))
        @events += 1
        @bytes += raw.bytesize
        drop if @events > @max_events || @bytes > @max_bytes
        crowded if @when_crowded && filling?
        record
      end
    end

    # Numbers an event that was lost on its way here, so that the stream sees the hole.
    def lose(lane)
      @lock.synchronize do
        number(lane)
        @dropped += 1
      end
    end

    # Called, in the thread of a hook, whenever the buffer has become half full.
    def when_crowded(&called)
      @when_crowded = called
    end

    # An event that was taken found no room on disk: a hole like any other.
    def lost
      @lock.synchronize { @dropped += 1 }
    end

    # Removes the oldest events, in order, up to `max_bytes` of them (at least one, if there is any).
    def take(max_bytes)
      taken = []
      size = 0
      while size < max_bytes && @events.positive?
        bite = take_some(max_bytes - size)
        taken.concat(bite)
        size += bite.sum(&:bytesize)
        Thread.pass
      end
      taken
    end

    # More than half full: time to use the disk, if nothing can be delivered.
    def filling?
      @events * 2 > @max_events || @bytes * 2 > @max_bytes
    end

    # The order of the last event numbered, if all have been taken or dropped; 0 if some wait.
    def empty_order
      @lock.synchronize { @events.zero? ? @last_order : 0 }
    end

    private

    BITE = 32 # events taken under one hold of the lock: a hook waits for no more than that
    private_constant :BITE

    def take_some(max_bytes)
      taken = []
      size = 0
      @lock.synchronize do
        while taken.size < BITE && size < max_bytes && (queue = oldest_queue)
          record = queue.shift
          taken << record
          size += record.bytesize
        end
        @events -= taken.size
        @bytes -= size
      end
      taken
    end

    def oldest_queue
      best = nil
      @queues.each { |queue| best = queue if !queue.empty? && (best.nil? || queue[0].order < best[0].order) }
      best
    end

    # Once per BITE events: whoever takes has begun by then.
    def crowded
      @when_crowded.call if (@last_order % BITE).zero? || @events == (@max_events / 2) + 1
    end

    def number(lane)
      @last_order += 1
      return (@unnumbered += 1) - 1 if lane.negative?

      seq = @next[lane]
      @next[lane] = seq + 1
      seq
    end

    def drop
      while @events > @max_events || @bytes > @max_bytes
        queue = @queues.find { |candidate| !candidate.empty? }
        return if queue.nil?

        @bytes -= queue.shift.bytesize
        @events -= 1
        @dropped += 1
      end
    end
  end
end
