# frozen_string_literal: true

# How events leave the process: one way per module, used by the flusher's background thread only.
#
# A transport has `connect` (raises TransportDown), `partitions` (Kafka's, nil where the receiver places events),
# `deliver(texts)` (returns those to try again; raises TransportDown if it is all of them) and `close`. It may wait, never
# longer than `request_timeout_ms` a few times over. What a fork inherits of it is never touched again.
module Jobtide
  module Transports
    module_function

    def for(settings)
      if settings.broker.empty?
        require "jobtide/transports/http"
        Http.new(settings)
      else
        require "jobtide/transports/kafka"
        Kafka.for(settings)
      end
    end
  end
end
