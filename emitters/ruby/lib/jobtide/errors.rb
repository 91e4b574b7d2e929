# frozen_string_literal: true

# What the emitter may raise, and only where it is being set up: never from a hook, never from an emit.
module Jobtide
  # A setting cannot be used. The text names the setting and the fix.
  class ConfigError < ArgumentError; end

  # Nothing can be delivered now; the events stay where they are and are tried again. Never leaves the background thread.
  class TransportDown < StandardError; end
end
