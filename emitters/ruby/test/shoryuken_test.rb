# frozen_string_literal: true

require "test_helper"
JobtideTest.backend("shoryuken")
require "jobtide/shoryuken"

# The hooks in Shoryuken's documented middleware chains and events.
class ShoryukenTest < Minitest::Test
  include JobtideTest

  class Mail
    include Shoryuken::Worker
    shoryuken_options queue: "mail"

    def perform(message, body)
      raise ArgumentError, "told to" if body == "fail"

      Mail.perform_async("child") if body == "parent"
      message
    end
  end

  class Patient < Mail
    shoryuken_options queue: "mail", retry_intervals: [300, 600]
  end

  class Bulk < Mail
    shoryuken_options queue: "bulk", batch: true
  end

  POLICY = { "VisibilityTimeout" => "60", "RedrivePolicy" => '{"maxReceiveCount":3}', "ApproximateNumberOfMessages" => "7", "ApproximateNumberOfMessagesDelayed" => "2", "ApproximateNumberOfMessagesNotVisible" => "1" }.freeze

  def setup
    super
    emitter(1, heartbeat_ms: 100, snapshot_ms: 100)
    Shoryuken::Client.sqs.refuse = nil
    Shoryuken::Client.sqs.queue_attributes = POLICY
    Jobtide::Shoryuken::Queues.learn(%w[mail bulk])
  end

  def teardown
    Jobtide::Shoryuken.snapshots&.stop&.join
    super
  end

  def received(body, receives = 1, id: "m-1", **attributes)
    Shoryuken::Message.new(id, body, { "ApproximateReceiveCount" => receives.to_s, "SentTimestamp" => "1795341600250" }, attributes.transform_keys(&:to_s))
  end

  def process(worker, one)
    body = one.is_a?(Array) ? one.map(&:body) : one.body
    Shoryuken.process(worker, worker.class.get_shoryuken_options["queue"], one, body)
  rescue ArgumentError
    nil
  end

  def kinds
    flushed.map { |event| event["type"][/\Ajob\.(\w+)/, 1] }.compact
  end

  def data(kind)
    @memory.of("job.#{kind}").last["data"]
  end

  def test_sent_and_done
    Mail.perform_async("hello")
    process(Mail.new, received("hello"))
    assert_equal %w[enqueued started finished], kinds
    assert_equal ["shoryuken", "mail", "ShoryukenTest::Mail", 1], data("finished").values_at("system", "queue", "job_class", "attempt")
    assert_equal "2026-11-22T10:00:00.250000Z", data("started")["enqueued_at"]
    no_errors
  end

  def test_delayed
    Mail.perform_async("later", delay_seconds: 60)
    assert_equal ["scheduled"], kinds
    assert_in_delta Time.now.to_f + 60, Time.parse(data("scheduled")["run_at"]).to_f, 5
    mark = { string_value: "1795341660250", data_type: "Number" }
    process(Mail.new, received("later", jobtide_run_at: Shoryuken::Attribute.new(*mark.values)))
    assert_equal "2026-11-22T10:01:00.250000Z", @memory.tap { flushed }.of("job.started")[0]["data"]["run_at"]
    no_errors
  end

  def test_a_send_that_sqs_refused_is_not_told
    Shoryuken::Client.sqs.refuse = true
    assert_raises(IOError) { Mail.perform_async("hello") }
    assert_empty flushed
  end

  # Nobody can know who will work on it.
  def test_a_message_without_a_worker_is_told_when_it_starts
    Shoryuken::Client.queues("mail").send_message(message_body: "hello")
    assert_empty flushed
  end

  def test_a_batch_of_sends
    named = { "shoryuken_class" => { string_value: "Mail", data_type: "String" } }
    Shoryuken::Client.queues("mail").send_messages([{ message_body: "a", message_attributes: named }, { message_body: "b", message_attributes: named, delay_seconds: 5 }, { message_body: "c" }])
    assert_equal %w[enqueued scheduled], kinds
    no_errors
  end

  def test_failure_comes_again_after_the_visibility_timeout_and_the_last_is_dead
    process(Mail.new, received("fail", 1))
    assert_equal %w[started failed retry_scheduled], kinds
    assert_in_delta Time.now.to_f + 60, Time.parse(data("retry_scheduled")["run_at"]).to_f, 5
    process(Mail.new, received("fail", 3))
    assert_equal %w[started failed dead], kinds.last(3)
    assert_equal 3, data("dead")["attempt"]
    refute data("started").key?("enqueued_at")
    no_errors
  end

  # Shoryuken swallows the exception; it has failed all the same.
  def test_failure_with_retry_intervals
    failing = received("fail", 2)
    process(Patient.new, failing)
    assert_equal %w[started failed retry_scheduled], kinds
    assert_equal 300, failing.visibility
    assert_in_delta Time.now.to_f + 600, Time.parse(data("retry_scheduled")["run_at"]).to_f, 5
  end

  def test_a_batch_worker
    process(Bulk.new, [received("a", id: "m-1"), received("b", id: "m-2")])
    assert_equal %w[started started finished finished], kinds
    assert_equal %w[m-1 m-2], @memory.of("job.finished").map { |event| event["subject"] }
    no_errors
  end

  def test_a_child_knows_its_parent
    process(Mail.new, received("parent", id: "m-9"))
    assert_equal "m-9", @memory.tap { flushed }.of("job.enqueued")[0]["data"]["parent_job_id"]
  end

  def test_a_worker_lives_and_looks_at_its_queues
    Shoryuken.fire(:startup)
    eventually("a snapshot of both queues") { @memory.of("queue.snapshot").map { |event| event["subject"] }.uniq.size == 2 }
    eventually("a heartbeat") { @memory.of("worker.heartbeat").any? }
    Shoryuken.fire(:quiet)
    Shoryuken.fire(:stopped)
    assert_equal [7, 2, 1], @memory.of("queue.snapshot")[0]["data"].values_at("ready", "scheduled", "running")
    assert_equal [%w[mail bulk], 25], @memory.of("worker.online")[0]["data"].values_at("queues", "concurrency")
    assert_equal [1, 1], [@memory.of("worker.stopping").size, @memory.of("worker.offline").size]
    no_errors
  end

  if Gem::Specification.any? { |spec| spec.name == "activejob" }
    require "active_job_jobs"

    class JobWrapper < Mail
      def perform(_message, body)
        ActiveJob::Base.execute(body)
      end
    end

    # Where ActiveJob gives up, SQS tries again: one job, its attempts counted through.
    def test_active_job_on_top
      ActiveJobJobs.on(:test)
      serialized = ActiveJobJobs::Unhandled.new.serialize
      [1, 2].each { |receives| Shoryuken.process(JobWrapper.new, "mail", received("", receives), serialized) rescue IOError }
      assert_equal [["started", 1], ["failed", 1], ["retry_scheduled", 1], ["started", 2], ["failed", 2], ["retry_scheduled", 2]],
                   (flushed.map { |event| [event["type"][/job\.(\w+)/, 1], event["data"]["attempt"]] })
      assert_equal [["shoryuken", "ActiveJobJobs::Unhandled", serialized["job_id"]]], flushed.map { |event| event["data"].values_at("system", "job_class", "job_id") }.uniq
      no_errors
    end
  end

  Jobtide.sites.keys.grep(/\Ashoryuken\./).each do |name|
    define_method("test_a_mistake_in_#{name}_reaches_no_job") do
      with_a_mistake_in(name) do
        Shoryuken.fire(:startup)
        assert_equal "m-1", Mail.perform_async("hello").message_id.sub(/\d+/, "1")
        assert_equal 1, Shoryuken::Client.queues("mail").send_messages([{ message_body: "a" }]).successful.size
        fine = received("hello")
        assert_same fine, process(Mail.new, fine)
        assert_raises(ArgumentError) { Shoryuken.process(Mail.new, "mail", received("fail"), "fail") }
        Shoryuken.fire(:quiet)
        Shoryuken.fire(:stopped)
      end
    end
  end
end
