# frozen_string_literal: true

require "rdkafka"
require "jobtide/errors"

# The rdkafka gem as the Kafka transport's client.
module Jobtide
  module Transports
    class KafkaRdkafka
      def initialize(configuration)
        @producer = ::Rdkafka::Config.new(configuration.transform_keys(&:to_sym)).producer
        @broken = false
      rescue ::Rdkafka::Config::ConfigError => e
        raise ConfigError, "Kafka: #{e.message}"
      end

      def partition_count(topic, _timeout_ms)
        @producer.partition_count(topic).to_i
      rescue ::Rdkafka::RdkafkaError => e
        raise TransportDown, "Kafka: #{e.message}"
      end

      # Sends [partition, value, headers] each and waits for the receipts; the numbers of those without one.
      def produce(topic, messages, timeout_ms)
        deadline = Moments.monotonic_s + (timeout_ms / 1000.0)
        handles = messages.map { |partition, value, headers| attempt { @producer.produce(topic: topic, payload: value, partition: partition, headers: headers) } }
        messages.each_index.reject do |number|
          handles[number] && attempt { handles[number].wait(max_wait_timeout: [deadline - Moments.monotonic_s, 0.01].max) }
        end
      end

      # Whether this producer will never send again.
      def broken?
        @broken
      end

      def close
        @producer.close
      end

      private

      # nil when the broker, or time, did not allow it.
      def attempt
        yield
      rescue ::Rdkafka::RdkafkaError, ::Rdkafka::AbstractHandle::WaitTimeoutError => e
        @broken ||= e.respond_to?(:fatal?) && e.fatal?
        nil
      end
    end
  end
end
