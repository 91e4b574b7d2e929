# frozen_string_literal: true

require "json"
require "jobtide/errors"
require "jobtide/packs"

# A transport that keeps events in an array: for the tests of apps that use the emitter, and for our own.
#
# Behaves like Kafka with `partitions` partitions; while `down` it refuses.
#   memory = Jobtide::Transports::Memory.new
#   Jobtide.configure(transport: -> { memory })
module Jobtide
  module Transports
    class Memory
      attr_reader :partitions, :packs, :closed
      attr_accessor :down

      def initialize(partitions = 8)
        @partitions = partitions
        @packs = []
        @down = @closed = false
      end

      def connect
        raise TransportDown, "told to be down" if @down
      end

      def deliver(texts)
        connect
        @packs.concat(Packs.of(texts, @partitions || 1))
        []
      end

      def close
        @closed = true
      end

      # All delivered events, decoded, in order of delivery.
      def events
        @packs.flat_map { |pack| pack.texts.map { |text| JSON.parse(text.json) } }
      end

      # Delivered events of one type, without its version: "job.started".
      def of(kind)
        events.select { |event| event["type"] == "#{kind}.v1" }
      end
    end
  end
end
