# frozen_string_literal: true

require "test_helper"
require "jobtide/transports/http"

class HttpTest < Minitest::Test
  include JobtideTest

  def teardown
    super
    @gateway&.close
  end

  def to_gateway(*answers, **settings)
    @gateway = FakeGateway.new(*answers)
    Jobtide.configure(url: @gateway.url, tenant: "acme", linger_ms: 0, request_timeout_ms: 1000, **settings)
  end

  def push(made, count)
    count.times { |number| made.job_enqueued(made.job("sidekiq", "q", "C", number.to_s)) }
  end

  def test_posts_gzipped_lines_over_one_connection
    made = to_gateway(token: "secret-token")
    push(made, 3)
    assert Jobtide.flush
    request = @gateway.requests.pop
    assert_equal "POST /v1/events HTTP/1.1\r\n", request[:line]
    assert_equal %w[application/x-ndjson gzip], request[:headers].values_at("content-type", "content-encoding")
    assert_equal "Bearer secret-token", request[:headers]["authorization"]
    assert_in_delta Time.now.to_f * 1000, request[:headers]["sent-at"].to_i, 10_000
    no_errors
  end

  # Everything that is no 202 keeps the events; they arrive once, under the numbers they had.
  [[503, {}], [429, { "retry-after" => "0.2" }], [500, {}], [408, {}], [:hang_up], [403, {}]].each do |answer|
    define_method("test_keeps_events_after_#{answer[0]}") do
      made = to_gateway(answer, answer)
      push(made, 5)
      eventually("delivery") { @gateway.events.size == 5 }
      assert_equal((0..4).to_a, @gateway.events.map { |event| event["subject"].to_i }.sort)
    end
  end

  def test_waits_as_long_as_it_is_told
    made = to_gateway([429, { "retry-after" => "1" }, "{}"])
    began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    push(made, 1)
    eventually("delivery") { @gateway.events.size == 1 }
    assert_operator Process.clock_gettime(Process::CLOCK_MONOTONIC) - began, :>=, 1
    assert_equal 2, @gateway.requests.size # not asked in between
  end

  def test_a_body_that_is_too_large_is_sent_in_parts
    transport = Jobtide::Transports::Http.new(Jobtide::Settings.new(url: (@gateway = FakeGateway.new([413, {}, "{}"])).url))
    left = Array.new(2000) { |number| Jobtide::Packs::Text.new(0, %({"n":#{number},"pad":"#{'x' * 100}"})) }
    left = begin
      transport.deliver(left)
    rescue Jobtide::TransportDown
      left
    end
    assert_equal 2000, left.size
    assert_empty transport.deliver(left)
    assert_operator @gateway.requests.size, :>, 2
    assert_equal((0..1999).to_a, @gateway.events.map { |event| event["n"] })
  end

  def test_one_event_that_the_gateway_cannot_take_does_not_stop_the_others
    made = to_gateway([400, {}, "{}"])
    push(made, 1)
    assert Jobtide.flush
    assert_match(/refused 1 events/, @logged.string)
    push(made, 1)
    assert Jobtide.flush
    assert_equal 1, @gateway.events.size
  end

  def test_refused_events_are_not_sent_again_and_said_once
    made = to_gateway([202, {}, '{"accepted":0,"rejected":[{"line":1,"reason":"bad_name"}]}'])
    push(made, 1)
    assert Jobtide.flush
    assert_match(/refused 1 events.*bad_name/, @logged.string)
  end

  def test_broadcasts_are_left_to_the_gateway_to_place
    made = to_gateway(release: "2026.11.22")
    made.worker("sidekiq", "w", queues: %w[q], concurrency: 1) { [] }
    push(made, 1)
    eventually("a worker") { @gateway.events.any? { |event| event["type"] == "worker.heartbeat.v1" } }
    Jobtide.close
    events = @gateway.events
    events.select { |event| event["type"].start_with?("worker.", "emitter.", "deploy.") }.each { |event| assert_equal [nil, nil, nil], event.values_at("epoch", "lane", "seq") }
    assert_equal made.ring.epoch, events.find { |event| event["type"] == "emitter.stats.v1" }["data"]["epoch"]
    deploy = events.find { |event| event["type"] == "deploy.marked.v1" }
    assert_operator deploy["id"].length, :>=, 16
    assert_equal events.size, events.map { |event| event["id"] }.uniq.size
  end

  def test_a_process_that_ends_in_order_has_said_everything
    @gateway = FakeGateway.new
    script = 'require "jobtide"; e = Jobtide.emitter; 500.times { |n| e.job_enqueued(e.job("cron", "q", "C", n.to_s)) }'
    environment = { "JOBTIDE_EMITTER_URL" => @gateway.url, "JOBTIDE_EMITTER_LINGER_MS" => "5000" }
    assert system(environment, RbConfig.ruby, "-I", File.expand_path("../lib", __dir__), "-e", script)
    assert_equal 500, (@gateway.events.count { |event| event["type"] == "job.enqueued.v1" })
    assert_equal true, @gateway.events.last["data"]["clean"]
  end

  def test_nobody_there_costs_the_end_of_a_process_next_to_nothing
    script = 'require "jobtide"; e = Jobtide.emitter; e.job_enqueued(e.job("cron", "q", "C", "1")); sleep 0.3; $t = Process.clock_gettime(Process::CLOCK_MONOTONIC); ' \
             "Jobtide.close; exit!(Process.clock_gettime(Process::CLOCK_MONOTONIC) - $t < 1 ? 0 : 1)"
    environment = { "JOBTIDE_EMITTER_URL" => "http://127.0.0.1:1/v1/events" }
    assert system(environment, RbConfig.ruby, "-I", File.expand_path("../lib", __dir__), "-e", script, err: File::NULL)
  end
end
