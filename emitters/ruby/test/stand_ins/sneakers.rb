# frozen_string_literal: true

# The interface of Sneakers and Kicks: workers, publisher, middleware, and handlers that are told what a worker returned.
module Sneakers
  VERSION = "stand-in"
  Named = Struct.new(:name)

  class Middlewares
    def to_a = (@all ||= [])
    def use(klass, *args) = to_a << { class: klass, args: args }
  end

  def self.middleware = (@middleware ||= Middlewares.new)

  module Handlers
    # Keep what they are told.
    class Oneshot
      def told = (@told ||= [])
      def acknowledge(*) = told << :ack
      def error(*) = told << :error
      def reject(_info, _metadata, _message, requeue = false) = told << (requeue ? :requeue : :reject)
      def noop(*) = told << :noop
    end

    class Maxretry < Oneshot; end
  end

  # Keeps what is published.
  class Publisher
    class << self
      attr_accessor :published, :refuse
    end

    def publish(msg, options = {})
      raise IOError, "no broker" if self.class.refuse

      to_queue = options.delete(:to_queue)
      options[:routing_key] ||= to_queue
      (self.class.published ||= []) << [msg, options]
    end
  end

  module Worker
    Classes = []
    attr_reader :queue, :opts

    def self.included(base)
      base.extend(ClassMethods)
      Classes << base
    end

    module ClassMethods
      attr_reader :queue_name, :queue_opts

      def from_queue(name, opts = {})
        @queue_name = name.to_s
        @queue_opts = opts
      end

      def enqueue(msg, opts = {}) = Publisher.new.publish(msg, opts.merge(to_queue: @queue_name))
    end

    def initialize(opts = {})
      @queue = Named.new(self.class.queue_name)
      @opts = { ack: true, threads: 10 }.merge(self.class.queue_opts).merge(opts)
    end

    def ack! = :ack
    def reject! = :reject
    def requeue! = :requeue
    def run; end
    def stop; end

    # Without the pool of threads.
    def process_work(delivery_info, metadata, msg, handler)
      app = ->(message, *) { work(message) }
      chain = Sneakers.middleware.to_a.reverse.reduce(app) { |inner, one| one[:class].new(inner, *one[:args]) }
      result = error = nil
      begin
        result = chain.call(msg, delivery_info, metadata, handler)
      rescue StandardError => e
        result = :error
        error = e
      end
      case result
      when :ack then handler.acknowledge(delivery_info, metadata, msg)
      when :error then handler.error(delivery_info, metadata, msg, error)
      when :reject then handler.reject(delivery_info, metadata, msg)
      when :requeue then handler.reject(delivery_info, metadata, msg, true)
      else handler.noop(delivery_info, metadata, msg)
      end
    end
  end
end
