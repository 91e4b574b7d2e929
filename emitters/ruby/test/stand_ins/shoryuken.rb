# frozen_string_literal: true

# Shoryuken's documented interface: middleware chains, lifecycle events, workers with options, a queue and SQS's answers, in
# memory. Its own middlewares are there where their place in the chain matters.
module Shoryuken
  VERSION = "stand-in"
  Attribute = Struct.new(:string_value, :data_type)
  Sent = Struct.new(:message_id)
  SentOf = Struct.new(:id, :message_id)
  Results = Struct.new(:successful)
  Answer = Struct.new(:attributes)

  # A message as SQS hands it out.
  class Message
    attr_reader :message_id, :body, :attributes, :message_attributes, :visibility

    def initialize(message_id, body, attributes, message_attributes = {})
      @message_id = message_id
      @body = body
      @attributes = attributes
      @message_attributes = message_attributes
    end

    def change_visibility(visibility_timeout:)
      @visibility = visibility_timeout
    end
  end

  class Chain
    def initialize(*classes)
      @classes = classes
    end

    def add(klass)
      @classes << klass
    end

    def invoke(*args, &inner)
      @classes.reverse.reduce(inner) { |call, klass| -> { klass.new.call(*args, &call) } }.call
    end
  end

  # Swallows what it will try again, as Shoryuken's does.
  class ExponentialBackoffRetry
    def call(worker, _queue, message, _body)
      yield
    rescue StandardError
      intervals = worker.class.get_shoryuken_options["retry_intervals"]
      raise if intervals.nil?

      message.change_visibility(visibility_timeout: intervals[0])
    end
  end

  # What the SDK's client answers.
  class Sqs
    attr_accessor :refuse, :queue_attributes

    def send_message(_options)
      raise IOError, "no SQS" if refuse

      Sent.new("m-#{@number = (@number || 0) + 1}")
    end

    def get_queue_attributes(queue_url:, attribute_names:)
      raise ArgumentError, queue_url unless attribute_names == ["All"]

      Answer.new(queue_attributes)
    end
  end

  module Client
    class << self
      def sqs = (@sqs ||= Sqs.new)
      def queues(name) = Queue.new(name)
    end
  end

  class Queue
    attr_reader :name

    def initialize(name)
      @name = name
    end

    def url = "https://sqs.eu.example.com/1/#{name}"

    def send_message(options)
      options = options.merge(queue_url: url)
      Shoryuken.client_middleware.invoke(options) { Client.sqs.send_message(options) }
    end

    def send_messages(options)
      entries = options.is_a?(Array) ? options.map.with_index { |entry, index| { id: index.to_s }.merge(entry) } : options[:entries]
      Results.new(entries.map { |entry| SentOf.new(entry[:id], Client.sqs.send_message(entry).message_id) })
    end
  end

  module Worker
    def self.included(base)
      base.extend(ClassMethods)
    end

    module ClassMethods
      def shoryuken_options(options) = @options = options.transform_keys(&:to_s)
      def get_shoryuken_options = @options || {}

      def perform_async(body, options = {})
        named = { "shoryuken_class" => { string_value: to_s, data_type: "String" } }
        Client.queues(get_shoryuken_options["queue"]).send_message(options.merge(message_body: body, message_attributes: (options[:message_attributes] || {}).merge(named)))
      end
    end
  end

  @events = { startup: [], dispatch: [], utilization_update: [], quiet: [], shutdown: [], stopped: [] }
  @server = Chain.new(ExponentialBackoffRetry)
  @client = Chain.new

  class << self
    attr_reader :events

    def options = { lifecycle_events: @events }
    def on(name, &block) = @events.fetch(name) << block
    def fire(name) = @events.fetch(name).each(&:call)
    def groups = { "default" => { concurrency: 25, queues: %w[mail mail bulk] } }
    def configure_server = yield(self) # as within its command
    def configure_client; end

    def server_middleware
      yield @server if block_given?
      @server
    end

    def client_middleware
      yield @client if block_given?
      @client
    end

    # As its Processor does.
    def process(worker, queue, message, body)
      server_middleware.invoke(worker, queue, message, body) { worker.perform(message, body) }
    end
  end
end
