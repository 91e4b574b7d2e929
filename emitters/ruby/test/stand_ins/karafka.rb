# frozen_string_literal: true

# Karafka's monitor with the documented events, and a consumer that publishes them as Karafka's does.
module Karafka
  VERSION = "stand-in"
  Topic = Struct.new(:name)
  Group = Struct.new(:topics)
  Message = Struct.new(:partition, :offset, :timestamp)
  Tracker = Struct.new(:attempt)
  Coordinator = Struct.new(:pause_tracker)
  Config = Struct.new(:concurrency)

  class Monitor
    NAMES = %w[
      consumer.consume consumer.consumed error.occurred consumer.consuming.retry dead_letter_queue.dispatched app.running app.quieting app.stopping app.stopped
    ].freeze

    def initialize
      @listeners = Hash.new { |all, name| all[name] = [] }
    end

    def subscribe(name, &block)
      raise ArgumentError, name unless NAMES.include?(name)

      @listeners[name] << block
    end

    def instrument(name, payload = {})
      result = yield if block_given?
      @listeners[name].each { |listener| listener.call(payload) }
      result
    end
  end

  class App
    def self.consumer_groups = [Group.new([Topic.new("orders"), Topic.new("mails")])]
    def self.config = Config.new(5)
  end

  def self.monitor = (@monitor ||= Monitor.new)

  class BaseConsumer
    attr_accessor :topic, :messages, :coordinator, :dead_letter_after

    # What its worker does with a batch.
    def on_consume
      Karafka.monitor.instrument("consumer.consume", caller: self)
      Karafka.monitor.instrument("consumer.consumed", caller: self, time: 1.0) { consume }
    rescue StandardError => e
      Karafka.monitor.instrument("error.occurred", caller: self, error: e, type: "consumer.consume.error")
      if dead_letter_after && coordinator.pause_tracker.attempt > dead_letter_after
        Karafka.monitor.instrument("dead_letter_queue.dispatched", caller: self, message: messages.first)
      else
        Karafka.monitor.instrument("consumer.consuming.retry", caller: self, timeout: 1500)
      end
    end
  end
end
