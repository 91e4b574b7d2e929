# frozen_string_literal: true

require "zlib"

# Which lane an event belongs to, and which Kafka partition a lane lives on: the same in every language.
module Jobtide
  module Lanes
    COUNT = 64

    module_function

    # crc32 of the key's UTF-8 bytes, modulo 64.
    def of(partitionkey)
      Zlib.crc32(partitionkey) & 63
    end

    # The Kafka partition of a lane; `partitions` divides 64.
    def partition(lane, partitions)
      lane % partitions
    end

    # The lanes that live on one Kafka partition.
    def on(partition, partitions)
      partition.step(COUNT - 1, partitions).to_a
    end
  end
end
