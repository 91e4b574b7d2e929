# frozen_string_literal: true

require "jobtide/backend"
require "jobtide/emitter"
require "jobtide/errors"
require "jobtide/guard"
require "jobtide/settings"

# The emitter of this process: made from the environment when first asked for, left behind in forks, closed at the end.
#
# Not how events are made or sent (emitter).
module Jobtide
  AT_EXIT = site("process.at_exit")
  PROGRESS = site("process.progress")
  TRACING = site("process.tracing")
  private_constant :AT_EXIT, :PROGRESS, :TRACING

  @lock = Mutex.new
  @emitter = nil

  class << self
    # The process's emitter. The first call reads JOBTIDE_EMITTER_*; a wrong value is logged and turns it off.
    def emitter
      @emitter || @lock.synchronize { @emitter || install(from_environment) }
    end

    # Sets the process's emitter up; arguments win over JOBTIDE_EMITTER_*. Raises ConfigError naming what is wrong.
    # `transport` replaces HTTP and Kafka, for tests.
    def configure(transport: nil, **overrides)
      settings, unknown = Settings.load(ENV.to_h, overrides)
      log.warn("jobtide: no such settings, ignored: #{unknown.join(', ')}") unless unknown.empty?
      @lock.synchronize { install(Emitter.new(settings, transport: transport)) }
    end

    # How far the job that this thread runs is: 0 to 1, and in which step. Outside of a job it does nothing.
    def progress(ratio, step = nil)
      guard(PROGRESS) { Backend.run&.progress(ratio, step) }
      nil
    end

    # The block says the W3C traceparent of the span that the calling thread is in, or nil. With OpenTelemetry:
    #   Jobtide.tracing { (c = OpenTelemetry::Trace.current_span.context).valid? ? "00-#{c.hex_trace_id}-#{c.hex_span_id}-01" : nil }
    def tracing(&asked)
      @tracing = asked
    end

    def traceparent
      @tracing && guard(TRACING) { @tracing.call }
    end

    # Waits until everything so far is acknowledged: for places where a process ends by `exit!`. See Emitter#flush.
    def flush(timeout_ms = nil)
      timeout_ms ? emitter.flush(timeout_ms) : emitter.flush
    end

    # The clean end. Called by itself when the process ends in order; call it before `exit!`.
    def close(timeout_ms = nil)
      return if @emitter.nil?

      timeout_ms ? @emitter.close(timeout_ms) : @emitter.close
    end

    private

    def from_environment
      settings, unknown = Settings.load(ENV.to_h)
      log.warn("jobtide: no such settings, ignored: #{unknown.join(', ')}") unless unknown.empty?
      Emitter.new(settings)
    rescue ConfigError => e
      log.error("jobtide: the emitter is off: #{e.message}")
      Emitter.new(Settings.new(disabled: true))
    end

    def install(made)
      @emitter&.close
      at_exit { guard(AT_EXIT) { close } } unless @at_exit
      @at_exit = true
      @emitter = made
    end
  end
end
