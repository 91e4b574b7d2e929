# frozen_string_literal: true

# A thread of the emitter's own. Not a pool: each has one task for as long as the process lives.
#
# Threads are started inside guards, where interruptions wait, and would inherit that: a process could not end.
module Jobtide
  module Background
    def self.start(name)
      thread = Thread.new { Thread.handle_interrupt(Object => :immediate) { yield } }
      thread.name = name
      thread.report_on_exception = false
      thread
    end
  end
end
