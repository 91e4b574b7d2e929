# frozen_string_literal: true

require "test_helper"
JobtideTest.backend("karafka")
require "jobtide/karafka"

# The hooks on the documented events of Karafka's monitor.
class KarafkaTest < Minitest::Test
  include JobtideTest

  class Orders < Karafka::BaseConsumer
    attr_accessor :failing

    def consume
      raise ArgumentError, "told to" if failing

      "consumed"
    end
  end

  def setup
    super
    emitter(1)
    @consumer = Orders.new
    @consumer.topic = Karafka::Topic.new("orders")
    at = Time.at(1_795_341_600, 250_000, :microsecond)
    @consumer.messages = Array.new(3) { |number| Karafka::Message.new(2, 41 + number, at + number) }
    attempt(1)
  end

  def attempt(number)
    @consumer.coordinator = Karafka::Coordinator.new(Karafka::Tracker.new(number))
  end

  def kinds
    flushed.map { |event| event["type"][/\Ajob\.(\w+)/, 1] }.compact
  end

  def data(kind)
    @memory.of("job.#{kind}").last["data"]
  end

  def test_a_batch
    assert_equal "consumed", @consumer.on_consume
    assert_equal %w[started finished], kinds
    assert_equal ["karafka", "orders", "KarafkaTest::Orders", "orders/2/41", 1, { "messages" => "3" }], data("finished").values_at("system", "queue", "job_class", "job_id", "attempt", "labels")
    assert_equal "2026-11-22T10:00:00.250000Z", data("started")["enqueued_at"]
    assert_empty Jobtide::Karafka::HAND.held
    no_errors
  end

  def test_retries_until_the_dead_letter_queue
    @consumer.failing = true
    @consumer.dead_letter_after = 1
    @consumer.on_consume
    attempt(2)
    @consumer.on_consume
    assert_equal %w[started failed retry_scheduled started failed dead], kinds
    assert_equal [1, 1, 1, 2, 2, 2], (flushed.map { |event| event["data"]["attempt"] })
    assert_in_delta Time.now.to_f + 1.5, Time.parse(data("retry_scheduled")["run_at"]).to_f, 3
    refute data("started").key?("enqueued_at")
    assert_equal "ArgumentError", data("dead")["error"]["class"]
    no_errors
  end

  # Errors of other places are not this job's.
  def test_other_errors
    Karafka.monitor.instrument("error.occurred", caller: @consumer, error: RuntimeError.new("x"), type: "connection.listener.fetch_loop.error")
    Karafka.monitor.instrument("error.occurred", caller: nil, error: RuntimeError.new("x"), type: "consumer.consume.error")
    assert_empty flushed
    no_errors
  end

  def test_a_process
    %w[app.running app.quieting app.stopping app.stopped].each { |name| Karafka.monitor.instrument(name) }
    assert_equal %w[worker.online worker.stopping worker.offline], (@memory.events.map { |event| event["type"].delete_suffix(".v1") }.grep(/worker/) - ["worker.heartbeat"])
    assert_equal [%w[orders mails], 5], @memory.of("worker.online")[0]["data"].values_at("queues", "concurrency")
    no_errors
  end

  Jobtide.sites.keys.grep(/\Akarafka\./).each do |name|
    define_method("test_a_mistake_in_#{name}_reaches_no_job") do
      with_a_mistake_in(name) do
        Karafka.monitor.instrument("app.running")
        assert_equal "consumed", @consumer.on_consume
        @consumer.failing = true
        @consumer.dead_letter_after = 1
        @consumer.on_consume
        attempt(2)
        @consumer.on_consume
        %w[app.quieting app.stopping app.stopped].each { |last| Karafka.monitor.instrument(last) }
      end
    end
  end
end
