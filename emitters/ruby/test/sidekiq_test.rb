# frozen_string_literal: true

require "test_helper"

begin
  require "sidekiq"
rescue LoadError
  warn "Sidekiq is not installed: its hooks are not tested"
end

# The harness stands on Sidekiq 6.4's processor; later versions are run as real workers.
if defined?(Sidekiq) && Sidekiq::VERSION < "6.5"
  require "sidekiq_harness"

  class SidekiqTest < Minitest::Test
    include JobtideTest

    def setup
      super
      emitter(1)
      SidekiqHarness.reset
    end

    def kinds
      flushed.map { |event| event["type"].delete_suffix(".v1").delete_prefix("job.") }
    end

    def run_next
      SidekiqHarness.process(SidekiqHarness.take)
    end

    def test_push_start_finish
      jid = SidekiqHarness::Work.perform_async("ok")
      run_next
      assert_equal %w[enqueued started finished], kinds
      started = @memory.of("job.started")[0]["data"]
      assert_equal [jid, "SidekiqHarness::Work", "default", "web-1:4242:abc", 1, 2], started.values_at("job_id", "job_class", "queue", "worker_id", "attempt", "max_attempts")
      assert_equal @memory.of("job.enqueued")[0]["time"], started["enqueued_at"]
      no_errors
    end

    def test_a_push_that_redis_refused_is_not_told
      SidekiqHarness.redis.refuse = true
      assert_raises(Redis::CannotConnectError) { SidekiqHarness::Work.perform_async("ok") }
      assert_empty flushed
    end

    def test_bulk
      Sidekiq::Client.push_bulk("class" => SidekiqHarness::Work, "args" => [["a"], ["b"], ["c"]])
      assert_equal %w[enqueued enqueued enqueued], kinds
      assert_equal 3, flushed.map { |event| event["subject"] }.uniq.size
    end

    def test_scheduled_then_moved_into_its_queue
      at = Time.now.to_f + 60
      SidekiqHarness::Work.perform_at(at, "ok")
      Sidekiq::Client.push(JSON.parse(SidekiqHarness.redis.sets["schedule"][0][1])) # as the poller does
      run_next
      assert_equal %w[scheduled enqueued started finished], kinds
      run_at = Jobtide::Moments.text((at * 1_000_000).round)
      assert_equal [run_at] * 3, flushed.first(3).map { |event| event["data"]["run_at"] }
      assert_equal [1], flushed.map { |event| event["data"]["attempt"] }.uniq
      no_errors
    end

    def test_failure_retry_and_death
      SidekiqHarness::Work.perform_async("fail")
      run_next
      score, retried = SidekiqHarness.redis.sets["retry"][0]
      Sidekiq::Client.push(JSON.parse(retried))
      run_next
      assert_equal %w[enqueued started failed retry_scheduled enqueued started failed dead], kinds
      assert_equal [1, 1, 1, 1, 2, 2, 2, 2], flushed.map { |event| event["data"]["attempt"] }
      run_at = @memory.of("job.retry_scheduled")[0]["data"]["run_at"]
      assert_in_delta score.to_f, Time.parse(run_at).to_f, 0.01
      assert_equal run_at, @memory.of("job.started")[1]["data"]["run_at"]
      error = @memory.of("job.dead")[0]["data"]["error"]
      assert_equal ["ArgumentError", "told to"], error.values_at("class", "message")
      no_errors
    end

    def test_without_retry_it_is_dead_at_once
      SidekiqHarness::NoRetry.perform_async("fail")
      run_next
      assert_equal %w[enqueued started failed dead], kinds
    end

    def test_a_class_that_is_missing_is_an_attempt_too
      SidekiqHarness.process("class" => "Gone", "args" => [], "jid" => "j1", "queue" => "default", "retry" => 0)
      assert_equal %w[started failed dead], kinds
      assert_equal "NameError", @memory.of("job.failed")[0]["data"]["error"]["class"]
    end

    def test_the_end_of_the_process_is_no_failure
      SidekiqHarness::Work.perform_async("shutdown")
      run_next
      assert_equal %w[enqueued started], kinds
      assert_empty Jobtide::Sidekiq::Running.held
    end

    def test_a_job_that_somebody_kills_while_it_waits
      SidekiqHarness::Work.perform_async("fail")
      run_next
      Jobtide::Sidekiq::Running.started({ "class" => "Other", "jid" => "other", "args" => [] }, "default")
      Sidekiq.death_handlers.each { |handler| handler.call(JSON.parse(SidekiqHarness.redis.sets["retry"][0][1]), RuntimeError.new("Job killed by API")) }
      assert_equal 2, (flushed.last["data"]["attempt"])
      assert_equal "job.dead.v1", flushed.last["type"]
    end

    def test_a_child_knows_its_parent
      jid = SidekiqHarness::Work.perform_async("parent")
      run_next
      assert_equal jid, @memory.tap { flushed }.of("job.enqueued")[1]["data"]["parent_job_id"]
      run_next
      assert_equal jid, flushed.last["data"]["parent_job_id"]
    end

    def test_what_a_worker_holds
      payload = { "class" => "SidekiqHarness::Work", "args" => [], "jid" => "j1", "queue" => "default" }
      Jobtide::Sidekiq::Running.started(payload, "default")
      assert_equal [["default", "j1", 1]], (Jobtide::Sidekiq::Running.held.map { |held| held.to_a.first(3) })
      Jobtide::Sidekiq::Running.left
      assert_empty Jobtide::Sidekiq::Running.held
    end

    def test_arguments_stay_at_home_unless_allowed_and_then_masked
      SidekiqHarness::Work.perform_async("hunter2")
      refute_match(/hunter2/, JSON.generate(flushed))
      emitter(1, args: "SidekiqHarness::Work")
      Sidekiq::Client.push("class" => SidekiqHarness::Work, "args" => [{ "password" => "hunter2", "user" => "ann" }])
      preview = flushed[0]["data"]["args_preview"]
      assert_equal '[{"password":"[masked]","user":"ann"}]', preview
    end

    def test_a_job_that_somebody_deletes_while_it_waits
      SidekiqHarness::Work.perform_async("ok")
      SidekiqHarness::Work.perform_in(60, "later")
      SidekiqHarness::Work.perform_async("fail")
      Sidekiq::JobRecord.new(SidekiqHarness.redis.queues["queue:default"].shift, "default").tap { |job| SidekiqHarness.redis.queues["queue:default"].unshift(job.value) }.delete
      run_next # fails, and waits for its next try
      { Sidekiq::ScheduledSet => "schedule", Sidekiq::RetrySet => "retry" }.each do |set, key|
        parent = set.allocate.tap { |made| made.instance_variable_set(:@name, key) && made.instance_variable_set(:@_size, 1) }
        score, value = SidekiqHarness.redis.sets[key][0]
        Sidekiq::SortedEntry.new(parent, score, value).delete
        Sidekiq::SortedEntry.new(parent, score, value).delete # it is gone
      end
      cancelled = @memory.tap { flushed }.of("job.cancelled").map { |event| event["data"].values_at("attempt", "reason") }
      assert_equal [[1, "deleted"], [1, "deleted"], [2, "deleted"]], cancelled
      no_errors
    end

    def test_progress_from_inside_a_job_and_the_trace_it_belongs_to
      trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      Jobtide::Sidekiq::Running.started({ "class" => "X", "jid" => "j1", "args" => [], "queue" => "default", "traceparent" => trace }, "default")
      Jobtide.progress(0.5, "half way")
      Jobtide::Sidekiq::Running.left
      Jobtide.progress(1) # no job any more
      assert_equal ["started", "progress"], kinds
      assert_equal [0.5, "half way"], @memory.events[1]["data"].values_at("progress", "step")
      assert_equal [trace, trace], (@memory.events.map { |event| event["traceparent"] })
      Jobtide.tracing { "no trace" }
      SidekiqHarness::Work.perform_async("ok")
      refute flushed.last.key?("traceparent")
      no_errors
    ensure
      Jobtide.tracing
    end

    # ActiveJob above, both layers' hooks: told once, under one identity, whoever tries again.
    def test_active_job_on_top
      require "active_job_jobs"
      ActiveJobJobs.on(:sidekiq)
      ActiveJobJobs::Retried.perform_later # ActiveJob schedules a retry, gives up, and Sidekiq retries
      run_next
      Sidekiq::Client.push(JSON.parse(SidekiqHarness.redis.sets["schedule"][0][1]))
      run_next
      Sidekiq::Client.push(JSON.parse(SidekiqHarness.redis.sets["retry"][0][1]))
      run_next
      attempts = flushed.group_by { |event| event["data"]["attempt"] }.transform_values { |events| events.map { |event| event["type"][/\Ajob\.(\w+)/, 1] }.sort }
      assert_equal %w[enqueued failed retry_scheduled started], attempts[1]
      assert_equal %w[enqueued failed retry_scheduled scheduled started], attempts[2]
      assert_equal %w[enqueued failed retry_scheduled started], attempts[3]
      assert_equal [["ActiveJobJobs::Retried", "sidekiq", "default"]], flushed.map { |event| event["data"].values_at("job_class", "system", "queue") }.uniq
      assert_equal 1, flushed.map { |event| event["partitionkey"] }.uniq.size
      assert_equal ["web-1:4242:abc"], flushed.map { |event| event["data"]["worker_id"] }.compact.uniq
      no_errors
    end

    # Later versions write the retry without telling us when: what is left from this attempt would be wrong.
    def test_the_time_an_attempt_was_put_off_to_is_not_the_next_ones
      msg = { "class" => "X", "jid" => "j9", "args" => [], "queue" => "default", Jobtide::Sidekiq::Payload::RUN_AT => 1_795_341_600.5 }
      Jobtide::Sidekiq::Retrying.before(msg, "default", RuntimeError.new("x"))
      refute msg.key?(Jobtide::Sidekiq::Payload::RUN_AT)
      assert_equal "2026-11-22T10:00:00.500000Z", flushed[0]["data"]["run_at"]
    ensure
      Jobtide::Sidekiq::Retrying.decided
    end

    # Sidekiq 6.5 and later: the time of a retry is only in what goes to Redis.
    def test_a_watched_connection_passes_everything_on
      decision = Jobtide::Sidekiq::Retrying::Decision.new
      watched = Jobtide::Sidekiq::Retrying::Watched.new(SidekiqHarness.redis, decision)
      watched.zadd("dead", "1.5", "x")
      assert_nil decision.retry_at_us
      watched.zadd("retry", "1795341600.25", "x")
      assert_equal 1_795_341_600_250_000, decision.retry_at_us
      assert_equal [["1795341600.25", "x"]], SidekiqHarness.redis.sets["retry"]
      watched.multi { |transaction| transaction.zadd("dead", "2", "y") }
      assert_equal 2, SidekiqHarness.redis.sets["dead"].size
    end

    def test_stamps_of_sidekiq_6_and_8
      assert_equal 1_795_341_600_123_000, Jobtide::Sidekiq::Payload.enqueued_at_us("enqueued_at" => 1_795_341_600_123)
      assert_equal 1_795_341_600_123_400, Jobtide::Sidekiq::Payload.enqueued_at_us("enqueued_at" => 1_795_341_600.1234)
    end
  end

  # A mistake of ours at any place where Sidekiq calls us: the job does not notice.
  class SidekiqFaultTest < Minitest::Test
    include JobtideTest

    SITES = Jobtide.sites.keys.grep(/\A(sidekiq|emitter)\./) - %w[sidekiq.snapshot emitter.worker emitter.emit]

    def setup
      super
      emitter(1)
      SidekiqHarness.reset
    end

    def teardown
      Jobtide::Sidekiq::Lifecycle.snapshots&.stop&.join # it would complain of the harness's Redis in later tests
      super
    end

    SITES.each do |name|
      [StandardError, NotImplementedError, SystemStackError, NoMemoryError].each do |kind|
        define_method("test_#{kind}_in_#{name}") do
          site = Jobtide.sites.fetch(name)
          hits = 0
          site.fault = lambda do
            hits += 1
            raise kind, "a mistake"
          end
          life
          assert_equal %w[ok fail fail fail later], SidekiqHarness.performed, name
          assert_equal 1, SidekiqHarness.redis.sets["retry"].size
          assert_equal 2, SidekiqHarness.redis.sets["dead"].size
          assert_operator hits, :>, 0, "#{name} was never called"
          assert_operator site.errors, :>=, hits
        end
      end
    end

    # Every path once: ok, retry, dead, without retry, scheduled, startup, quiet.
    def life
      Jobtide::Sidekiq::Lifecycle.started(Sidekiq) unless Jobtide.sites["sidekiq.startup"].fault.nil?
      Jobtide::Sidekiq::Lifecycle.stopping
      SidekiqHarness::Work.perform_async("ok")
      SidekiqHarness.process(SidekiqHarness.take)
      SidekiqHarness::Work.perform_async("fail")
      SidekiqHarness.process(SidekiqHarness.take)
      Sidekiq::Client.push(JSON.parse(SidekiqHarness.redis.sets["retry"][0][1]))
      SidekiqHarness.process(SidekiqHarness.take)
      SidekiqHarness.process("class" => "SidekiqHarness::Work", "args" => ["fail"], "jid" => "j2", "queue" => "default", "retry" => 0)
      SidekiqHarness::Work.perform_in(60, "later")
      Sidekiq::Client.push(JSON.parse(SidekiqHarness.redis.sets["schedule"][0][1]))
      SidekiqHarness.process(SidekiqHarness.take)
      SidekiqHarness::Work.perform_async("never")
      assert Sidekiq::JobRecord.new(SidekiqHarness.redis.queues["queue:default"][0], "default").delete
    end

    def test_a_log_that_is_broken_too
      Jobtide.log = Class.new { def method_missing(*) = raise("no log") }.new
      Jobtide.sites["sidekiq.started"].fault = -> { raise "a mistake" }
      life
      assert_equal %w[ok fail fail fail later], SidekiqHarness.performed
    end
  end
end
