# frozen_string_literal: true

require "time"

# Instants: integer microseconds since the epoch inside, RFC 3339 `Z` with six digits on the wire.
#
# The one place that reads clocks. Durations come from `monotonic_ns`, never from the wall clock.
module Jobtide
  module Moments
    KNOWN_SECONDS = 256
    DIGITS = Array.new(1000) { |number| format("%03d", number).freeze }.freeze

    @texts = {}

    module_function

    # Wall clock, µs since the epoch.
    def now_us
      ::Process.clock_gettime(::Process::CLOCK_REALTIME, :microsecond)
    end

    def monotonic_ns
      ::Process.clock_gettime(::Process::CLOCK_MONOTONIC, :nanosecond)
    end

    # Seconds, for deadlines of the background thread.
    def monotonic_s
      ::Process.clock_gettime(::Process::CLOCK_MONOTONIC)
    end

    # The contract's form of an instant: 1_500_000 is "1970-01-01T00:00:01.500000Z".
    def text(us)
      micros = us % 1_000_000
      "#{prefix(us / 1_000_000)}#{DIGITS[micros / 1000]}#{DIGITS[micros % 1000]}Z"
    end

    # The text up to the second; the events of a moment share it, and so do a job's enqueue and its start.
    def prefix(second)
      @texts[second] || begin
        @texts = {} if @texts.size >= KNOWN_SECONDS
        @texts[second] = Time.at(second).utc.strftime("%Y-%m-%dT%H:%M:%S.").freeze
      end
    end

    # µs of what backends keep: a Time, a number of seconds, integer milliseconds (Sidekiq 8), or ISO 8601 text. nil for
    # anything else.
    def us(value)
      case value
      when Integer then value > 100_000_000_000 ? value * 1000 : value * 1_000_000
      when Float then value.finite? ? (value * 1_000_000).round : nil
      when String then us(Time.iso8601(value))
      else us_of(value)
      end
    rescue ArgumentError, RangeError
      nil
    end

    # A Time or what is like one (Rails' times are, and warn when they are asked for a plain one), or a date with a time.
    def us_of(value)
      value = value.to_time if value && !value.respond_to?(:usec) && value.respond_to?(:to_time)
      (value.to_i * 1_000_000) + value.usec if value.respond_to?(:usec)
    end
  end
end
