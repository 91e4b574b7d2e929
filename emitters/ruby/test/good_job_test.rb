# frozen_string_literal: true

require "test_helper"

begin
  require "active_job"
rescue LoadError
  warn "ActiveJob is not installed: GoodJob's hooks are not tested"
end

if defined?(ActiveJob)
  require "active_job_jobs"
  JobtideTest.backend("good_job")
  require "jobtide/good_job"

  # The hooks on GoodJob's documented notifications. That its jobs are told is active_job_test's.
  class GoodJobTest < Minitest::Test
    include JobtideTest

    # The name is what the hooks read.
    class GoodJobAdapter
      attr_reader :jobs

      def enqueue(job)
        (@jobs ||= []) << job.serialize
      end

      def enqueue_at(job, _timestamp)
        enqueue(job)
      end
    end

    def setup
      super
      emitter(1, heartbeat_ms: 100)
      ActiveJobJobs.on(@adapter = GoodJobAdapter.new)
      Jobtide::GoodJob.instance_variable_get(:@pools).clear # what a fault in an earlier test has left
      GoodJob.retry_on_unhandled_error = nil
      GoodJob::CurrentThread.job = nil
      GoodJob::Batch.current_batch_id = nil
    end

    def teardown
      Jobtide::GoodJob.snapshots&.stop&.join
      GoodJob.retry_on_unhandled_error = nil
      GoodJob::CurrentThread.job = GoodJob::Batch.current_batch_id = nil
      super
    end

    def workers(kind)
      @memory.of("worker.#{kind}").map { |event| event["data"] }
    end

    def test_a_process_with_two_schedulers_is_one_worker_from_its_first_to_its_last
      first = GoodJob::Scheduler.new("mail,default", 3)
      eventually("online") { workers("online").any? }
      second = GoodJob::Scheduler.new("*", 2)
      eventually("a heartbeat of both") { workers("heartbeat").any? { |data| data["concurrency"] == 5 } }
      assert_equal %w[mail default *], workers("heartbeat").last["queues"]
      assert_equal ["good_job", %w[mail default], 3], workers("online")[0].values_at("system", "queues", "concurrency")
      first.shutdown
      assert_empty workers("offline")
      second.shutdown
      assert_equal 1, workers("offline").size
      assert_equal 1, workers("stopping").size
      no_errors
    end

    def test_jobs_run_on_that_worker_which_holds_and_counts_them
      scheduler = GoodJob::Scheduler.new("*", 2)
      ActiveJobJobs::Fine.perform_later
      ActiveJobJobs::Unhandled.perform_later
      @adapter.jobs.each { |job| ActiveJob::Base.execute(job) rescue IOError }
      eventually("counts") { workers("heartbeat").any? { |data| data.values_at("processed", "failed") == [2, 1] } }
      assert_equal [workers("online")[0]["worker_id"]], @memory.of("job.started").map { |event| event["data"]["worker_id"] }.uniq
      assert_equal 1, @memory.of("job.dead").size
      scheduler.shutdown
      no_errors
    end

    def test_where_good_job_tries_again_itself_nothing_is_dead
      GoodJob.retry_on_unhandled_error = true
      ActiveJobJobs::Unhandled.perform_later
      assert_raises(IOError) { ActiveJob::Base.execute(@adapter.jobs[0]) }
      flushed
      assert_equal [1, 0], [@memory.of("job.failed").size, @memory.of("job.dead").size]
    end

    def test_the_batch_of_a_job
      GoodJob::Batch.current_batch_id = "b-1"
      job = ActiveJobJobs::Fine.perform_later
      GoodJob::Batch.current_batch_id = nil
      GoodJob::CurrentThread.job = GoodJob::Record.new(job.job_id, "b-1")
      ActiveJob::Base.execute(@adapter.jobs[0])
      assert_equal %w[b-1 b-1 b-1], (flushed.map { |event| event["data"]["batch_id"] if event["type"].start_with?("job.") }.compact)
      GoodJob::CurrentThread.job = GoodJob::Record.new("another job, which enqueues", "b-1")
      ActiveJobJobs::Fine.perform_later
      assert_nil flushed.last["data"]["batch_id"]
    end

    begin
      require "active_record"
      require "sqlite3"
    rescue LoadError
      warn "ActiveRecord or SQLite is not installed: GoodJob's snapshots are not tested"
    end

    if defined?(ActiveRecord) && defined?(SQLite3)
      # GoodJob's table, without what the hooks do not read.
      def table
        directory = Dir.mktmpdir
        model = Class.new(ActiveRecord::Base) { self.table_name = "good_jobs" }
        GoodJob.const_set(:Job, model)
        ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: File.join(directory, "app.sqlite3"), timeout: 5000)
        ActiveRecord::Schema.verbose = false
        ActiveRecord::Schema.define do
          create_table(:good_jobs) do |t|
            t.string :queue_name
            t.text :error
            %i[scheduled_at performed_at finished_at created_at].each { |name| t.datetime(name, precision: 6) }
          end
        end
        yield model
      ensure
        Jobtide::GoodJob.snapshots&.stop&.join
        GoodJob.send(:remove_const, :Job)
        ActiveRecord::Base.connection_pool.disconnect!
        FileUtils.rm_rf(directory)
      end

      def test_how_full_its_queues_are
        table do |jobs|
          at = Time.at(1_795_341_600, 250_000, :microsecond).utc
          [
            { scheduled_at: at }, { scheduled_at: at + 1 }, {}, { scheduled_at: Time.now + 60 }, { scheduled_at: Time.now + 60, error: "x", performed_at: at },
            { performed_at: at }, { performed_at: at, finished_at: at, error: "x" }, { performed_at: at, finished_at: at }
          ].each { |columns| jobs.create!(queue_name: "mail", created_at: at + 60, **columns) }
          emitter(1, heartbeat_ms: 100, snapshot_ms: 100)
          scheduler = GoodJob::Scheduler.new("*", 2)
          eventually("a snapshot") { @memory.of("queue.snapshot").any? }
          scheduler.shutdown
          facts = @memory.of("queue.snapshot")[0]["data"]
          assert_equal ["good_job", "mail", 3, 1, 1, 1, 1, "2026-11-22T10:00:00.250000Z"], facts.values_at("system", "queue", "ready", "running", "scheduled", "retry", "dead", "oldest_ready_at")
          no_errors
        end
      end
    end

    (Jobtide.sites.keys.grep(/\Agood_job\./) - ["good_job.snapshot"]).each do |name|
      define_method("test_a_mistake_in_#{name}_reaches_no_job") do
        site = Jobtide.sites.fetch(name)
        hits = 0
        site.fault = -> { (hits += 1) && raise(NotImplementedError, "a mistake") }
        GoodJob::Scheduler.new("*", 2).shutdown
        assert_equal 1, hits
      end
    end
  end
end
