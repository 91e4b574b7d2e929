# frozen_string_literal: true

require "socket"
require "jobtide/bounds"
require "jobtide/flusher"
require "jobtide/guard"
require "jobtide/jobs"
require "jobtide/journal"
require "jobtide/lanes"
require "jobtide/moments"
require "jobtide/off_switch"
require "jobtide/ring"
require "jobtide/sizes"
require "jobtide/spool"
require "jobtide/statistics"
require "jobtide/transports"
require "jobtide/worker"

# The emitter of a process: builds events, buffers them, and survives forks.
#
# `put` is the hot path: one event to JSON, a number, a place in the ring; a background thread delivers. What a fork
# inherits belongs to the parent and is left alone: the child begins with an empty ring and an epoch of its own.
module Jobtide
  class Emitter
    include JobEvents

    EMIT = Jobtide.site("emitter.emit")
    WORKER = Jobtide.site("emitter.worker")
    NOT_IN_SOURCE = %r{[^A-Za-z0-9._~:/@%+-]}.freeze
    private_constant :NOT_IN_SOURCE

    attr_reader :settings, :enabled, :ring, :truncated, :spool

    # `transport` is for tests: something that is handed out instead of HTTP or Kafka, by `call`.
    def initialize(settings, transport: nil)
      @settings = settings
      @enabled = !settings.disabled && (settings.active? || !transport.nil?)
      @make_transport = transport || -> { Transports.for(settings) }
      @off_switch = settings.off_file.empty? ? nil : OffSwitch.new(settings.off_file)
      @series = {}
      @handover = nil
      begin_epoch
    end

    # Whether the file is there that turns everything off.
    def off?
      !@off_switch.nil? && @off_switch.off?
    end

    # One event, already in pieces: the hot path. `subject` and `key` are JSON strings, `facts` and `more` JSON members.
    # Only called inside a guard.
    def put(kind, subject, key, lane, facts, more, rank, at_us, attributes = nil)
      begin_epoch if @pid != ::Process.pid
      raw = "{\"type\":\"#{kind}\",\"specversion\":\"1.0\",\"source\":\"#{@source}\",\"subject\":#{subject},\"time\":\"" \
            "#{Moments.text(at_us || Moments.now_us)}\",\"partitionkey\":#{key}#{attributes},\"data\":{#{facts}#{more}}}"
      if raw.bytesize > Sizes::ROOM
        raw = Sizes.shortened(raw)
        @truncated += 1
      end
      record = @ring.put(raw, lane, rank)
      @journal.append(Packs.text(record, @ring.epoch).json, record.order) if @journal && rank != Rank::BEAT
      @flusher.wake unless @flusher.awake
    end

    # Any event of the contract: `kind` is "queue.snapshot.v1" and the like, `attributes` are CloudEvents extensions
    # (traceparent, backfill). Tenant and environment come from the settings unless `data` has them.
    def emit(kind, data, partitionkey:, lane: nil, subject: nil, at_us: nil, rank: Rank::STEP, **attributes)
      return if !@enabled || @off_switch&.off?

      Jobtide.guard(EMIT) do
        key = Bounds.name(partitionkey, 1024)
        facts = Sizes.members({ "tenant" => @settings.tenant, "environment" => @settings.environment }.merge(data.transform_keys(&:to_s)))
        extra = attributes.empty? ? nil : ",#{Sizes.members(attributes)}"
        put(kind, Bounds.quoted(Bounds.name(subject || key, 300)), Bounds.quoted(key), lane || Lanes.of(key), facts, nil, rank, at_us, extra)
      end
      nil
    end

    # This process is a worker: online now, heartbeats from now on. The block says what it holds: an array of Held.
    def worker(system, worker_id, queues:, concurrency:, version: "", tag: nil, &held)
      return unless @enabled

      Jobtide.guard(WORKER) do
        begin_epoch if @pid != ::Process.pid
        @worker = Worker.new(self, system, worker_id, queues, concurrency, version, tag, held)
        @flusher.beats << @worker.method(:beat)
        @flusher.wake
        @worker
      end
    end

    # Whether this process has said that it is a worker.
    def worker?
      !@worker.nil? && @pid == ::Process.pid
    end

    # The worker is gone, the process may go on: offline, and a flush. Waits at most `flush_timeout_ms`.
    def end_worker
      return unless ours? && @worker

      worker = @worker
      @worker = nil
      @flusher.beats.reject! { |beat| beat.receiver.equal?(worker) }
      limit_s = @settings.flush_timeout_ms / 1000.0
      deadline = Moments.monotonic_s + limit_s
      @flusher.drain(limit_s)
      worker.end
      flush(left_ms(deadline))
    end

    # The last statistics of a process that is about to end without saying so; what comes after them is told too.
    def sign_off
      @statistics.say(clean: true) if ours?
    end

    # Waits until everything emitted so far has been acknowledged, or is on disk. False when that did not happen in time,
    # or at once when delivery is known to fail. For places where a process ends hard (`exit!`).
    def flush(timeout_ms = @settings.flush_timeout_ms)
      ours? ? @flusher.flush(timeout_ms / 1000.0) : true
    end

    # The clean end: offline, the last statistics, a flush; what cannot be delivered goes to the spool. Waits at most
    # `flush_timeout_ms` or `timeout_ms`.
    def close(timeout_ms = @settings.flush_timeout_ms)
      return unless ours?

      deadline = Moments.monotonic_s + (timeout_ms / 1000.0)
      @flusher.beats.clear
      @flusher.drain(timeout_ms / 1000.0)
      if flush(left_ms(deadline))
        @worker&.end
        @statistics.say(clean: true)
        flush(left_ms(deadline))
      end
      @enabled = false
      @flusher.stop([deadline - Moments.monotonic_s, 0.05].max)
    end

    # Children forked from now on write their events to disk at once, and this process delivers them (see Handover).
    def hand_over(handover)
      @handover = handover
      handover.orphans.own = SpoolFile.path(@settings.spool_dir, @settings.target, @ring.epoch)
      @flusher.orphans = handover.orphans
      @flusher.wake
    end

    # Kafka partitions of the topic, once reached; nil where the receiver places events.
    def partitions
      @flusher.partitions
    end

    # Whether the receiver has been reached since the process started.
    def connected?
      @flusher.connected?
    end

    # Whether the receiver has been reached; one try, which may wait: for the background thread.
    def reach
      @flusher.reach
    end

    # Makes the background thread look for what is due.
    def wake
      @flusher.wake
    end

    def spooled
      @flusher.spooled
    end

    private

    def left_ms(deadline)
      [((deadline - Moments.monotonic_s) * 1000).to_i, 0].max
    end

    # Whether this process has an epoch of its own here: false when off, and in a fork that has said nothing yet.
    def ours?
      @enabled && @pid == ::Process.pid
    end

    # A new epoch: at the start of a process and in every fork. Starts nothing; the first event does.
    def begin_epoch
      known = @flusher&.partitions
      @pid = ::Process.pid
      @truncated = 0
      @worker = nil
      @ring = Ring.new(@settings.queue_events, @settings.queue_bytes)
      source = @settings.source.empty? ? "/#{Socket.gethostname}/#{@pid}" : @settings.source
      @source = source.gsub(NOT_IN_SOURCE, "-")[0, 256]
      @journal = nil
      @flusher = @handover && @handover.pid != @pid ? @handover.flusher(@ring, known) : new_flusher
      @statistics = Statistics.new(self)
      @flusher.beats << @statistics.method(:beat)
    end

    def new_flusher
      kept = [@settings.spool_dir, @settings.target, @ring.epoch, @settings.spool_bytes]
      spool = @settings.spool_dir.empty? ? nil : Spool.new(*kept)
      @journal = spool && @settings.spool_first ? Journal.new(*kept) : nil
      Flusher.new(@ring, @make_transport, @settings.linger_ms, spool, @journal)
    end
  end
end
