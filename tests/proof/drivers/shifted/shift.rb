# frozen_string_literal: true

# For a Ruby process whose wall clock is to be wrong by SHIFT_S seconds: ruby -r ./shift.rb. Monotonic clocks stay.
SHIFT_S = Float(ENV.fetch("SHIFT_S", "0"))
UNITS = { float_second: 1.0, float_millisecond: 1e3, float_microsecond: 1e6, second: 1, millisecond: 1_000, microsecond: 1_000_000, nanosecond: 1_000_000_000 }.freeze

module Process
  class << self
    alias unshifted_gettime clock_gettime
    def clock_gettime(clock, unit = :float_second)
      value = unshifted_gettime(clock, unit)
      return value unless clock == CLOCK_REALTIME

      value + (value.is_a?(Float) ? SHIFT_S * UNITS[unit] : (SHIFT_S * UNITS[unit]).to_i)
    end
  end
end

class Time
  class << self
    alias unshifted_now now
    def now(...)
      unshifted_now(...) + SHIFT_S
    end
  end
end
