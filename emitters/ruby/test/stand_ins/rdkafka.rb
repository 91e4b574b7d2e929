# frozen_string_literal: true

# The rdkafka gem's documented producer, in memory: the gem is not packaged where the tests run.
module Rdkafka
  class RdkafkaError < StandardError; end

  class AbstractHandle
    class WaitTimeoutError < StandardError; end
  end

  class Config
    class ConfigError < StandardError; end

    def initialize(hash)
      @hash = hash
    end

    def producer
      raise ConfigError, "no servers" unless @hash[:"bootstrap.servers"]

      Producer.new
    end
  end

  class Producer
    class << self
      attr_accessor :failing
    end

    attr_reader :sent

    def initialize
      @sent = []
    end

    def partition_count(_topic)
      8
    end

    def produce(topic:, payload:, partition:, headers:)
      raise RdkafkaError, "queue full" if self.class.failing == :produce

      @sent << [topic, payload, partition, headers]
      Handle.new
    end

    def close; end
  end

  class Handle
    def wait(max_wait_timeout:)
      raise AbstractHandle::WaitTimeoutError, "after #{max_wait_timeout}" if Producer.failing == :wait

      self
    end
  end
end
