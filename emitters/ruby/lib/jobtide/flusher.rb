# frozen_string_literal: true

require "jobtide/background"
require "jobtide/errors"
require "jobtide/guard"
require "jobtide/moments"
require "jobtide/sources"
require "jobtide/spiller"

# The background thread of a process: takes events from their sources, delivers them, tries again, and keeps
# time for beats.
#
# Started with the first event, once per process; a fork starts without it. What was taken and not acknowledged stays in
# the window and goes again under the same numbers. When the process ends so, it goes to the spool (what a ring that fills
# moves there is `spiller`).
module Jobtide
  class Flusher
    STEP = Jobtide.site("flusher.step")
    BEAT = Jobtide.site("flusher.beat")
    FIRST_PAUSE_S = 0.1
    LONGEST_PAUSE_S = 5.0
    KNOWN_DOWN_S = 0.05 # how long a flush waits when the last delivery failed

    attr_reader :awake, :beats

    def initialize(ring, make_transport, linger_ms, spool, journal = nil)
      @ring = ring
      @make_transport = make_transport
      @linger_s = linger_ms / 1000.0
      @spool = spool
      @journal = journal
      @spiller = Spiller.new(ring, spool) if spool
      @sources = Sources.new(ring, spool)
      @beats = []
      @settled = 0
      @lock = Mutex.new
      @signal = ConditionVariable.new
      @awake = @hurry = @stop = @down = @called = false
    end

    # Events that have been on disk.
    def spooled
      @spiller ? @spiller.spooled : 0
    end

    # Living children write their events where this finds them.
    def orphans=(orphans)
      @sources.children = orphans
    end

    # Kafka partitions, once connected; nil before, and where the receiver places events.
    def partitions
      @transport&.partitions
    end

    def connected?
      !@transport.nil?
    end

    # Makes the thread look at the ring; starts it if there is none yet.
    def wake
      @awake = true
      @lock.synchronize do
        @thread ||= start
        @called = true
        @signal.signal
      end
    end

    # Waits until what is in the ring now has been acknowledged or is on disk. False: not in time, or known to be down.
    def flush(timeout_s)
      target = @ring.last_order
      started = Moments.monotonic_s
      @hurry = true
      wake if @settled < target
      while @settled < target
        waited = Moments.monotonic_s - started
        return false if waited >= timeout_s || (@down && waited >= KNOWN_DOWN_S)

        sleep 0.001
      end
      true
    end

    # Waits until what children that are gone have left is delivered. False as for `flush`.
    def drain(timeout_s)
      return true unless @sources.children?

      deadline = Moments.monotonic_s + timeout_s
      2.times.all? { looked?(deadline) } # one that is under way may have passed what we wait for
    end

    # Ends the thread, and with it the transport; what is left goes to the spool.
    def stop(timeout_s)
      @stop = true
      if @thread && @thread != Thread.current
        wake
        @thread.join(timeout_s)
      end
      keep_all
      @spool&.close
    end

    # Whether the receiver has been reached; may wait: for the background thread only.
    def reach
      return true if @transport

      transport = @make_transport.call
      transport.connect
      @transport = transport
      true
    rescue TransportDown, ConfigError => e
      complain(e)
      false
    end

    private

    # Waits until all files have been looked through.
    def looked?(deadline)
      looks = @sources.looks
      @sources.look
      wake
      until @sources.looks > looks
        return false if Moments.monotonic_s >= deadline || @down

        sleep 0.001
      end
      true
    end

    def start
      Background.start("jobtide-emitter") { run }
    end

    def run
      until @stop
        worked = Jobtide.guard(STEP) { Thread.handle_interrupt(Object => :immediate) { step } }
        pause(FIRST_PAUSE_S) if worked.nil?
      end
      @transport&.close
    end

    # One turn of the thread: beats, then sleep or deliver.
    def step
      due = beat
      if @window.nil? && @sources.empty?
        rest(due)
      else
        pause(@linger_s) unless @hurry || @window
        deliver
      end
      true
    end

    # Until somebody wakes the thread or a beat is due. An event put meanwhile is seen, whoever comes first.
    def rest(due)
      settle(@ring.empty_order)
      @hurry = false
      @awake = false
      pause([due, @sources.due_s].min - Moments.monotonic_s) if @ring.events.zero?
      @awake = true
    end

    # Waits; `wake` cuts it short, even one that came just before.
    def pause(seconds)
      return unless seconds.positive?

      @lock.synchronize do
        @signal.wait(@lock, seconds) unless @called
        @called = false
      end
    end

    # Runs the beats that are due; returns when the next one is.
    def beat
      now = Moments.monotonic_s
      @beats.dup.map { |each| Jobtide.guard(BEAT) { each.call(now) } || (now + 1.0) }.min || (now + 3600.0)
    end

    # Until there is nothing left. A failure pauses, longer each time; flush and stop cut the pause short.
    def deliver
      pause_s = FIRST_PAUSE_S
      until @stop
        @window ||= @sources.take
        return if @window.nil?

        if attempt
          pause_s = FIRST_PAUSE_S
        else
          pause(pause_s * (0.5 + (rand / 2)))
          pause_s = [pause_s * 2, LONGEST_PAUSE_S].min
          beat
        end
      end
    end

    # Tries to deliver the window once; what remains of it goes again.
    def attempt
      return false unless reach

      window = @window
      window.texts = @transport.deliver(window.texts)
      return false unless window.texts.empty?

      @down = false
      @complained = nil
      window.done&.call
      settle(window.order) if window.order
      @window = nil
      true
    rescue TransportDown => e
      complain(e)
      false
    rescue *MISTAKES
      @down = true
      raise
    end

    # Everything up to this order has been acknowledged, or is on disk.
    def settle(order)
      @settled = [@settled, order].max
      @journal&.settled(@settled)
    end

    # The process ends: what is not acknowledged goes to disk.
    def keep_all
      return if @spool.nil?

      window = @window
      @window = nil
      rest = window&.order ? @spiller.keep(window.texts) : []
      @spiller.spill(everything: true)
      @journal&.close(safe: rest.empty? && @ring.events.zero?)
    end

    # Once per outage and cause: the events wait, and the log is the app's.
    def complain(error)
      @down = true
      return if @complained == error.message

      @complained = error.message
      Jobtide.log.warn("jobtide: events wait: #{error.message}")
    end
  end
end
