# frozen_string_literal: true

JobtideTest.backend("shoryuken")
require "jobtide/shoryuken"

module Players
  # Shoryuken's middlewares. A message has what SQS hands out.
  class Shoryuken
    include Jobtide::Shoryuken
    Handed = Struct.new(:message_id, :attributes, :message_attributes)
    Attribute = Struct.new(:string_value)

    def send_message(native)
      options = native["options"].to_h { |name, value| [name.to_sym, value] }
      options[:message_attributes] = native["options"].fetch("message_attributes", {}).transform_values { |value| value.transform_keys(&:to_sym) }
      due_us = Sending.before(options)
      Sending.after(options, native["message_id"], due_us, native["queue"])
      { "message_attributes" => options[:message_attributes].transform_values { |value| value.transform_keys(&:to_s) } }
    end

    def call(native)
      Queues.instance_variable_get(:@attributes)[native["queue"]] = native.fetch("queue_attributes", {})
      @queue = native["queue"]
      @worker = worker(native)
      facts = native["message"]
      marks = facts.fetch("message_attributes", {}).transform_values { |value| Attribute.new(value["string_value"]) }
      Jobtide::Backend.stub(:process_id, "web-1:4242") { @states = Running.started(@worker, @queue, Handed.new(facts["message_id"], facts["attributes"], marks), native["body"]) }
    end

    def returned(_native)
      Running.finished(@states)
      Running.left(@states)
    end

    def raised(native)
      Running.raised(@worker, @queue, @states, MappingTest.exception(native["exception"]))
      Running.left(@states)
    end

    private

    def worker(native)
      Class.new do
        define_singleton_method(:name) { native["worker"] }
        define_singleton_method(:get_shoryuken_options) { native.fetch("worker_options", {}) }
      end.new
    end
  end
end
