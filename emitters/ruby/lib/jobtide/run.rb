# frozen_string_literal: true

require "jobtide/bounds"
require "jobtide/moments"
require "jobtide/ring"

# An attempt while a worker holds it: it knows when it began, on both clocks, and ends at most once.
module Jobtide
  class Run
    attr_reader :job, :worker_id, :started_us

    # `elapsed_us`: it began that long ago, in a process that is gone.
    def initialize(emitter, job, worker_id, started_us, elapsed_us = 0)
      @emitter = emitter
      @job = job
      @worker_id = worker_id
      @started_us = started_us
      @began_ns = Moments.monotonic_ns - (elapsed_us * 1000)
    end

    # Takes the time now, for an outcome that is only known later (a result has to be stored first).
    def body_returned
      return if @ended_ns

      @ended_ns = Moments.monotonic_ns
      @ended_us = Moments.now_us
    end

    # The attempt succeeded.
    def finished(**more)
      finish("job.finished.v1", more)
    end

    # The attempt raised; whether another follows is said by job_retry_scheduled or job_dead.
    def failed(error, **more)
      finish("job.failed.v1", { error: error, **more })
    end

    # Somebody stopped it while it ran.
    def cancelled(reason, **more)
      finish("job.cancelled.v1", { reason: Bounds.name(reason), **more })
    end

    # It ended without success or failure: the job asked to be ignored.
    def discarded(reason, **more)
      finish("job.discarded.v1", { reason: Bounds.name(reason), **more })
    end

    # How far it is, 0 to 1, and in which step.
    def progress(ratio, step = nil)
      ratio = ratio.is_a?(Numeric) && ratio.to_f.finite? ? ratio.to_f.clamp(0.0, 1.0) : 0.0
      more = { progress: ratio }
      more[:step] = Bounds.name(step) if step
      @emitter.say(@job, "job.progress.v1", Rank::BEAT, worker_json, nil, more)
    end

    # It is still going on: for jobs that run longer than a worker's heartbeats tell.
    def heartbeat
      @emitter.say(@job, "job.heartbeat.v1", Rank::BEAT, worker_json, nil)
    end

    # The time of its started event, as the wire has it.
    def started_text
      @started_text ||= Moments.text(@started_us)
    end

    def worker_json
      @worker_json ||= ",\"worker_id\":#{Bounds.quoted(@worker_id)}"
    end

    private

    def finish(kind, more)
      return if @ended

      @ended = true
      body_returned
      ms = Bounds.milliseconds((@ended_ns - @began_ns) / 1000)
      text = "#{@worker_json || worker_json},\"started_at\":\"#{started_text}\",\"duration_ms\":#{ms}"
      @emitter.say(@job, kind, Rank::FINAL, text, @ended_us, more)
    end
  end
end
