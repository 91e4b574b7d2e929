# frozen_string_literal: true

require "jobtide/errors"
require "jobtide/moments"
require "jobtide/packs"

# Kafka, through a client that the app has: the rdkafka gem, or librdkafka itself through the ffi gem.
#
# Packs go to the partition of their lane, idempotent and acks=all; what has no receipt in time is sent again, under the
# same numbers. A client is made on first use, in the process that uses it: librdkafka does not survive a fork.
module Jobtide
  module Transports
    class Kafka
      # Tried in this order.
      CLIENTS = { "rdkafka" => %w[jobtide/transports/kafka_rdkafka KafkaRdkafka], "ffi" => %w[jobtide/transports/kafka_ffi KafkaFfi] }.freeze

      # The transport with the client that the settings name, or the first that is installed.
      def self.for(settings)
        wanted = settings.client == "auto" ? CLIENTS.keys : [settings.client]
        wanted.each do |name|
          file, constant = CLIENTS.fetch(name)
          require file
          return new(settings, Transports.const_get(constant))
        rescue LoadError
          next
        end
        raise ConfigError, "JOBTIDE_EMITTER_BROKER needs a Kafka client: the gem rdkafka, or ffi and librdkafka (tried: #{wanted.join(', ')})"
      end

      # librdkafka's own configuration.
      def self.configuration(settings)
        {
          "bootstrap.servers" => settings.broker, "client.id" => "jobtide-ruby", "security.protocol" => settings.security_protocol.downcase,
          "sasl.mechanisms" => settings.sasl_mechanism, "sasl.username" => settings.sasl_username, "sasl.password" => settings.sasl_password,
          "ssl.ca.location" => settings.tls_ca, "acks" => "all", "enable.idempotence" => "true", "linger.ms" => "0", "compression.codec" => "lz4",
          "message.timeout.ms" => settings.request_timeout_ms.to_s, "log.connection.close" => "false", "log_level" => "2"
        }.reject { |_, value| value.empty? }
      end

      attr_reader :partitions

      def initialize(settings, client_class)
        @settings = settings
        @client_class = client_class
      end

      # Learns the number of partitions.
      def connect
        count = client.partition_count(@settings.topic, @settings.request_timeout_ms)
        raise ConfigError, "topic #{@settings.topic} has #{count} partitions; jobtide needs a number that divides 64" unless count.positive? && (64 % count).zero?

        @partitions = count
      end

      def deliver(texts)
        packs = Packs.of(texts, @partitions)
        sent_at = (Moments.now_us / 1000).to_s
        messages = packs.map { |pack| [pack.partition, pack.value, { "content-type" => pack.content_type, "sent_at" => sent_at }] }
        unsent = client.produce(@settings.topic, messages, @settings.request_timeout_ms)
        return [] if unsent.empty?

        renew if client.broken?
        raise TransportDown, "#{@settings.target} acknowledged nothing" if unsent.size == packs.size

        unsent.flat_map { |number| packs[number].texts }
      end

      def close
        @client&.close
        @client = nil
      end

      private

      def client
        @client ||= @client_class.new(self.class.configuration(@settings))
      end

      # After an error that a producer cannot recover from.
      def renew
        close
      end
    end
  end
end
