# frozen_string_literal: true

JobtideTest.backend("karafka")
require "jobtide/karafka"

module Players
  # The events of Karafka's monitor, with a consumer that has what the hooks read.
  class Karafka
    include Jobtide::Karafka
    Named = Struct.new(:name)
    Message = Struct.new(:partition, :offset, :timestamp)
    Tracker = Struct.new(:attempt)
    Coordinator = Struct.new(:pause_tracker)

    {
      "consumer.consumed" => :finished, "error.occurred" => :raised, "consumer.consuming.retry" => :retrying, "dead_letter_queue.dispatched" => :dead
    }.each do |name, told|
      define_method(name) do |native|
        event = native.transform_keys(&:to_sym).merge(caller: @consumer)
        event[:error] = MappingTest.exception(native["error"]) if native["error"]
        Consuming.public_send(told, event)
      end
    end

    define_method("consumer.consume") do |native|
      @consumer = consumer(native)
      Jobtide::Backend.stub(:process_id, "web-1:4242") { Consuming.started(caller: @consumer) }
    end

    private

    def consumer(native)
      at = Time.at(0, native["first_timestamp_ms"] * 1000, :microsecond)
      messages = Array.new(native["size"]) { |number| Message.new(native["partition"], native["first_offset"] + number, at) }
      facts = { topic: Named.new(native["topic"]), messages: messages, coordinator: Coordinator.new(Tracker.new(native["attempt"])) }
      kind = Class.new { define_singleton_method(:name) { native["consumer"] } }
      kind.new.tap { |made| facts.each { |name, value| made.define_singleton_method(name) { value } } }
    end
  end
end
