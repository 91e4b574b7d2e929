# frozen_string_literal: true

require "test_helper"

begin
  require "active_record"
  require "delayed_job_active_record"
  require "jobtide/delayed_job"
rescue LoadError
  warn "DelayedJob is not installed: its hooks are not tested"
end

if defined?(Delayed::Job)
  require "active_job_jobs"

  # Real DelayedJob on SQLite in memory.
  class DelayedJobTest < Minitest::Test
    include JobtideTest

    Task = Struct.new(:what) do
      def perform
        raise ArgumentError, "told to" if what == "fail"

        sleep(5) if what == "long"
      end

      def max_attempts
        2
      end

      def max_run_time # seconds
        1 if what == "long"
      end

      def reschedule_at(now, _attempts)
        now
      end
    end

    def setup
      super
      ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: ":memory:")
      ActiveRecord::Schema.verbose = false
      ActiveRecord::Schema.define do
        create_table(:delayed_jobs) do |table|
          table.integer :priority, default: 0, null: false
          table.integer :attempts, default: 0, null: false
          table.text :handler
          table.text :last_error
          table.string :queue
          table.string :locked_by
          %i[run_at locked_at failed_at created_at updated_at].each { |name| table.datetime name, precision: 6 }
        end
      end
      Delayed::Worker.logger = Logger.new(IO::NULL)
      emitter(1)
      @worker = Delayed::Worker.new
    end

    def work(times = 1)
      times.times { @worker.work_off }
      flushed
    end

    def told(events = flushed)
      events.map { |event| [event["type"].delete_suffix(".v1").delete_prefix("job."), event["data"]["attempt"]] }
    end

    def test_ok
      Delayed::Job.enqueue(Task.new("ok"), queue: "mail", priority: 3)
      assert_equal [["enqueued", 1], ["started", 1], ["finished", 1]], told(work)
      started = @memory.of("job.started")[0]["data"]
      assert_equal ["DelayedJobTest::Task", "mail", 3, @worker.name], started.values_at("job_class", "queue", "priority", "worker_id")
      assert_equal @memory.of("job.enqueued")[0]["time"], started["enqueued_at"]
      no_errors
    end

    def test_enqueued_in_a_transaction_it_is_told_when_that_commits
      ActiveRecord::Base.transaction do
        Delayed::Job.enqueue(Task.new("ok"))
        ActiveRecord::Base.transaction(requires_new: true) do
          Delayed::Job.enqueue(Task.new("never"))
          raise ActiveRecord::Rollback
        end
        ActiveRecord::Base.transaction(requires_new: true) { Delayed::Job.enqueue(Task.new("ok"), run_at: Time.now + 60) }
        assert_empty flushed
      end
      assert_equal %w[enqueued scheduled], told.map(&:first).sort
      ActiveRecord::Base.transaction do
        Delayed::Job.enqueue(Task.new("never"))
        raise ActiveRecord::Rollback
      end
      assert_equal 2, flushed.size
      assert_equal 2, Delayed::Job.count
      assert_operator Time.parse(@memory.of("job.scheduled")[0]["time"]), :<, Time.parse(@memory.of("job.scheduled")[0]["data"]["run_at"])
      no_errors
    end

    def test_put_off
      at = Time.now + 0.15
      Delayed::Job.enqueue(Task.new("ok"), run_at: at)
      assert_equal [["scheduled", 1]], told(work)
      eventually("the job") { told(work).size == 3 }
      run_at = flushed.map { |event| Time.parse(event["data"]["run_at"].to_s) rescue nil }.compact
      assert_equal 2, run_at.size # scheduled and started
      run_at.each { |time| assert_in_delta at.to_f, time.to_f, 0.001 }
    end

    def test_failure_retry_and_death
      Delayed::Job.enqueue(Task.new("fail"))
      assert_equal [["enqueued", 1], ["started", 1], ["failed", 1], ["retry_scheduled", 1], ["started", 2], ["failed", 2], ["dead", 2]], told(work(2))
      assert_equal "ArgumentError", @memory.of("job.dead")[0]["data"]["error"]["class"]
      assert_equal @memory.of("job.retry_scheduled")[0]["data"]["run_at"], @memory.of("job.started")[1]["data"]["run_at"]
      no_errors
    end

    def test_the_workers_time_limit_is_a_failure
      Delayed::Job.enqueue(Task.new("long"))
      assert_equal %w[enqueued started failed retry_scheduled], told(work).map(&:first).first(4)
      assert_equal "Delayed::WorkerTimeout", @memory.of("job.failed")[0]["data"]["error"]["class"]
      assert_in_delta 1000, @memory.of("job.failed")[0]["data"]["duration_ms"], 500
    end

    def test_a_job_that_cannot_be_loaded
      Delayed::Job.create!(handler: "--- !ruby/object:Gone {}\n", queue: "default", run_at: Time.now)
      assert_equal [["started", 1], ["failed", 1], ["dead", 1]], told(work)
      assert_equal "Gone", flushed[0]["data"]["job_class"]
      no_errors
    end

    def test_delayed_methods_have_a_name_without_their_arguments
      "hunter2".delay(queue: "q").sub("a", "secret")
      assert_equal "String#sub", work[0]["data"]["job_class"]
      refute_match(/hunter2|secret/, JSON.generate(flushed))
    end

    def test_a_worker_is_online_and_offline
      Delayed::Worker.new(exit_on_complete: true).start
      eventually("offline") { @memory.of("worker.offline").any? }
      assert_equal %w[online heartbeat stopping offline] - ["heartbeat"], @memory.events.map { |event| event["type"][/worker\.(\w+)/, 1] }.compact - ["heartbeat"]
    ensure
      Delayed::Worker.exit_on_complete = false
    end

    # ActiveJob above: one job with one identity, whoever tries again.
    def test_active_job_on_top
      ActiveJobJobs.on(:delayed_job)
      ActiveJobJobs::Retried.perform_later # ActiveJob retries once, gives up, DelayedJob retries
      Delayed::Job.first.class.class_eval { def reschedule_at = self.class.db_time_now }
      attempts = told(work(4)).group_by(&:last).transform_values { |all| all.map(&:first).sort }
      assert_equal %w[enqueued failed retry_scheduled started], attempts[1]
      assert_equal %w[enqueued failed retry_scheduled started], attempts[2]
      assert_equal %w[failed retry_scheduled started], attempts[3]
      assert_equal(["ActiveJobJobs::Retried"], flushed.map { |event| event["data"]["job_class"] }.uniq)
      assert_equal 1, flushed.map { |event| event["partitionkey"] }.uniq.size
      no_errors
    end

    Jobtide.sites.keys.grep(/\Adelayed_job\./).each do |name|
      define_method("test_a_mistake_in_#{name}_reaches_no_job") do
        site = Jobtide.sites.fetch(name)
        hits = 0
        site.fault = -> { (hits += 1) && raise(NotImplementedError, "a mistake") }
        Delayed::Job.enqueue(Task.new("ok"))
        Delayed::Job.enqueue(Task.new("fail"))
        Delayed::Worker.new(exit_on_complete: true).start
        assert_equal 0, Delayed::Job.count # done, and destroyed after its second failure
        assert_operator hits, :>, 0, "#{name} was never called"
      ensure
        Delayed::Worker.exit_on_complete = false
      end
    end
  end
end
