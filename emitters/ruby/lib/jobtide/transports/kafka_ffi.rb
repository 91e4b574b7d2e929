# frozen_string_literal: true

require "ffi"
require "jobtide/errors"

# librdkafka through the ffi gem: the few calls that a producer of packs needs, and nothing for anybody else.
#
# Receipts come by a callback that runs inside `poll` and `flush`, in the thread that calls them.
module Jobtide
  module Transports
    module Librdkafka
      extend FFI::Library
      ffi_lib %w[librdkafka.so.1 librdkafka.1.dylib librdkafka]

      PRODUCER = 0
      COPY = 2
      # Tags of the arguments of producev.
      TOPIC, PARTITION, VALUE, OPAQUE, FLAGS, HEADER = 1, 3, 4, 6, 7, 9

      class Message < FFI::Struct
        layout :err, :int, :rkt, :pointer, :partition, :int32, :payload, :pointer, :len, :size_t, :key, :pointer, :key_len, :size_t, :offset, :int64, :opaque, :pointer
      end

      class Metadata < FFI::Struct
        layout :broker_count, :int, :brokers, :pointer, :topic_count, :int, :topics, :pointer
      end

      class TopicMetadata < FFI::Struct
        layout :topic, :pointer, :partition_count, :int, :partitions, :pointer, :err, :int
      end

      callback :receipt, %i[pointer pointer pointer], :void
      attach_function :conf_new, :rd_kafka_conf_new, [], :pointer
      attach_function :conf_set, :rd_kafka_conf_set, %i[pointer string string pointer size_t], :int
      attach_function :on_receipt, :rd_kafka_conf_set_dr_msg_cb, %i[pointer receipt], :void
      attach_function :make, :rd_kafka_new, %i[int pointer pointer size_t], :pointer
      attach_function :destroy, :rd_kafka_destroy_flags, %i[pointer int], :void, blocking: true
      attach_function :producev, :rd_kafka_producev, %i[pointer varargs], :int
      attach_function :flush, :rd_kafka_flush, %i[pointer int], :int, blocking: true
      attach_function :purge, :rd_kafka_purge, %i[pointer int], :int
      attach_function :poll, :rd_kafka_poll, %i[pointer int], :int, blocking: true
      attach_function :topic_new, :rd_kafka_topic_new, %i[pointer string pointer], :pointer
      attach_function :topic_destroy, :rd_kafka_topic_destroy, %i[pointer], :void
      attach_function :metadata, :rd_kafka_metadata, %i[pointer int pointer pointer int], :int, blocking: true
      attach_function :metadata_destroy, :rd_kafka_metadata_destroy, %i[pointer], :void
      attach_function :fatal_error, :rd_kafka_fatal_error, %i[pointer pointer size_t], :int
      attach_function :err2str, :rd_kafka_err2str, %i[int], :string
    end

    class KafkaFfi
      QUEUED_AND_SENT = 3

      def initialize(configuration)
        error = FFI::MemoryPointer.new(:char, 512)
        conf = Librdkafka.conf_new
        configuration.each do |name, value|
          next if Librdkafka.conf_set(conf, name, value, error, 512).zero?

          raise ConfigError, "Kafka: #{error.read_string}"
        end
        # Kept, because librdkafka only has its address.
        @receipt = proc { |_, message, _| received(Librdkafka::Message.new(message)) }
        Librdkafka.on_receipt(conf, @receipt)
        @handle = Librdkafka.make(Librdkafka::PRODUCER, conf, error, 512)
        raise ConfigError, "Kafka: #{error.read_string}" if @handle.null?

        @waiting = {}
      end

      def partition_count(topic, timeout_ms)
        wanted = Librdkafka.topic_new(@handle, topic, nil)
        found = FFI::MemoryPointer.new(:pointer)
        error = Librdkafka.metadata(@handle, 0, wanted, found, timeout_ms)
        raise TransportDown, "Kafka: #{Librdkafka.err2str(error)}" unless error.zero?

        topic_metadata(found.read_pointer)
      ensure
        Librdkafka.topic_destroy(wanted) if wanted
      end

      # Sends [partition, value, headers] each and waits for the receipts; the numbers of those without one.
      def produce(topic, messages, timeout_ms)
        @waiting = Array.new(messages.size) { |number| [number, true] }.to_h
        messages.each_with_index { |(partition, value, headers), number| send(topic, partition, value, headers, number) }
        Librdkafka.flush(@handle, timeout_ms)
        unless @waiting.empty?
          Librdkafka.purge(@handle, QUEUED_AND_SENT)
          Librdkafka.poll(@handle, 0)
        end
        @waiting.keys
      end

      # Whether this producer will never send again.
      def broken?
        !Librdkafka.fatal_error(@handle, nil, 0).zero?
      end

      def close
        Librdkafka.destroy(@handle, 8) # without a call to consumers' close
      end

      private

      def topic_metadata(pointer)
        topic = Librdkafka::TopicMetadata.new(Librdkafka::Metadata.new(pointer)[:topics])
        raise TransportDown, "Kafka: #{Librdkafka.err2str(topic[:err])}" unless topic[:err].zero?

        topic[:partition_count]
      ensure
        Librdkafka.metadata_destroy(pointer)
      end

      # A full queue is no receipt; the number comes back as the opaque.
      def send(topic, partition, value, headers, number)
        more = headers.flat_map { |name, text| [:int, Librdkafka::HEADER, :string, name, :string, text, :ssize_t, text.bytesize] }
        Librdkafka.producev(
          @handle, :int, Librdkafka::TOPIC, :string, topic, :int, Librdkafka::PARTITION, :int32, partition, :int, Librdkafka::FLAGS, :int, Librdkafka::COPY,
          :int, Librdkafka::VALUE, :buffer_in, value, :size_t, value.bytesize, :int, Librdkafka::OPAQUE, :pointer, FFI::Pointer.new(number), *more, :int, 0
        )
      end

      def received(message)
        @waiting.delete(message[:opaque].address) if message[:err].zero?
      end
    end
  end
end
