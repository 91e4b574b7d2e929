# frozen_string_literal: true

require "jobtide/moments"

# The off switch that needs no restart: while a file exists, nothing is told. Looked for once a second, by whoever tells then.
module Jobtide
  class OffSwitch
    LOOK_S = 1.0

    def initialize(path)
      @path = path
      @next = 0.0
      @found = false
    end

    def off?
      now = Moments.monotonic_s
      if now >= @next
        @next = now + LOOK_S
        @found = File.exist?(@path)
      end
      @found
    end
  end
end
