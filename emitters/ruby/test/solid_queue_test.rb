# frozen_string_literal: true

require "test_helper"

begin
  require "active_job"
  require "active_record"
  require "sqlite3"
rescue LoadError
  warn "ActiveJob or ActiveRecord is not installed: Solid Queue's hooks are not tested"
end

if defined?(ActiveJob) && defined?(ActiveRecord) && defined?(SQLite3)
  require "active_job_jobs"
  JobtideTest.backend("solid_queue")
  require "jobtide/solid_queue"

  # The hooks on Solid Queue's documented lifecycle and notifications, its tables on SQLite. That its jobs are told is
  # active_job_test's.
  class SolidQueueTest < Minitest::Test
    include JobtideTest

    def setup
      super
      @directory = Dir.mktmpdir
      ActiveRecord::Base.establish_connection(adapter: "sqlite3", database: File.join(@directory, "queue.sqlite3"), timeout: 5000)
      SolidQueue.create_tables
      emitter(1, heartbeat_ms: 100, snapshot_ms: 100)
      @worker = SolidQueue::Worker.new(SolidQueue::Process.create!(kind: "Worker").id, %w[mail default], SolidQueue::Pool.new(3))
    end

    def teardown
      Jobtide::SolidQueue.snapshots&.stop&.join
      super
      ActiveRecord::Base.connection_pool.disconnect!
      FileUtils.rm_rf(@directory)
    end

    def start(*worker)
      SolidQueue.start.each { |hook| hook.call(*worker) }
    end

    def test_a_worker
      start(@worker)
      SolidQueue.stop.each { |hook| hook.call(@worker) }
      Jobtide.close
      assert_equal %w[worker.online worker.stopping worker.offline], (@memory.events.map { |event| event["type"].delete_suffix(".v1") }.grep(/worker/) - ["worker.heartbeat"])
      assert_equal ["solid_queue", %w[mail default], 3], @memory.of("worker.online")[0]["data"].values_at("system", "queues", "concurrency")
      no_errors
    end

    # Before 1.2 the hook is handed nothing.
    def test_a_worker_that_does_not_say_who_it_is
      start
      eventually("online") { @memory.of("worker.online").any? }
      assert_equal [["*"], 1], @memory.of("worker.online")[0]["data"].values_at("queues", "concurrency")
      no_errors
    end

    def test_jobs_whose_process_died
      ids = [["mail", 0], ["mail", 2]].map do |queue, executions|
        SolidQueue::Job.create!(queue_name: queue, class_name: "Mailing", active_job_id: "aj-#{executions}", arguments: { "executions" => executions }).id
      end
      SolidQueue.fail_many_claimed(ids, RuntimeError.new("Process pruned"))
      eventually("dead") { @memory.of("job.dead").size == 2 }
      told = @memory.events.map { |event| [event["type"][/job\.(\w+)/, 1], event["subject"], event["data"]["attempt"]] }
      assert_equal [["failed", "aj-0", 1], ["dead", "aj-0", 1], ["failed", "aj-2", 3], ["dead", "aj-2", 3]], told
      assert_equal ["RuntimeError", "solid_queue"], [@memory.events[0]["data"]["error"]["class"], @memory.events[0]["data"]["system"]]
      no_errors
    end

    def test_snapshots_from_the_eldest_worker_only
      mail, later, lost = %w[mail mail bulk].map { |queue| SolidQueue::Job.create!(queue_name: queue, class_name: "X", active_job_id: "x", arguments: {}) }
      at = Time.at(1_795_341_600, 250_000, :microsecond).utc
      SolidQueue::ReadyExecution.create!(job_id: mail.id, queue_name: "mail", created_at: at)
      SolidQueue::ScheduledExecution.create!(job_id: later.id)
      SolidQueue::FailedExecution.create!(job_id: lost.id)
      younger = SolidQueue::Worker.new(SolidQueue::Process.create!(kind: "Worker").id, ["*"], SolidQueue::Pool.new(1))
      start(younger)
      start(@worker) # of the same process in async mode: widens it
      Jobtide::Snapshots.new("solid_queue", Jobtide.sites.fetch("solid_queue.snapshot"), -> { Jobtide::SolidQueue::Tables.eldest?(younger) }, -> { flunk }).turn
      snapshots = Jobtide::Snapshots.new("solid_queue", Jobtide.sites.fetch("solid_queue.snapshot"), -> { Jobtide::SolidQueue::Tables.eldest?(@worker) }, Jobtide::SolidQueue::Tables.method(:facts))
      snapshots.turn
      SolidQueue::Pause.create!(queue_name: "mail")
      2.times { snapshots.turn }
      SolidQueue::Pause.delete_all
      snapshots.turn
      flushed
      facts = @memory.of("queue.snapshot").first(2).to_h { |event| [event["subject"], event["data"].slice("ready", "scheduled", "running", "dead", "paused", "oldest_ready_at")] }
      assert_equal({ "ready" => 1, "scheduled" => 1, "running" => 0, "dead" => 0, "paused" => false, "oldest_ready_at" => "2026-11-22T10:00:00.250000Z" }, facts["mail"])
      assert_equal({ "ready" => 0, "scheduled" => 0, "running" => 0, "dead" => 1, "paused" => false }, facts["bulk"])
      assert_equal %w[queue.paused.v1 queue.resumed.v1], (@memory.events.map { |event| event["type"] }.grep(/paused|resumed/))
      no_errors
    end

    # The name is what the hooks read.
    class SolidQueueAdapter
      def enqueue(job)
        SolidQueue::Job.create!(queue_name: job.queue_name, class_name: job.class.name, active_job_id: job.job_id, arguments: job.serialize)
      end

      def enqueue_at(job, _timestamp) = enqueue(job)
    end

    def test_enqueued_in_a_transaction_it_is_told_when_that_commits
      ActiveJobJobs.on(SolidQueueAdapter.new)
      SolidQueue::Record.transaction do
        ActiveJobJobs::Fine.perform_later
        ActiveJobJobs::Fine.set(wait: 60).perform_later
        assert_empty flushed
      end
      assert_equal %w[job.enqueued.v1 job.scheduled.v1], flushed.map { |event| event["type"] }
      SolidQueue::Record.transaction do
        ActiveJobJobs::Fine.perform_later
        raise ActiveRecord::Rollback
      end
      assert_equal [2, 2], [flushed.size, SolidQueue::Job.count]
      no_errors
    end

    # The app's own transaction, in another database, may roll back: the job is there.
    def test_a_queue_in_a_database_of_its_own
      ActiveJobJobs.on(SolidQueueAdapter.new)
      SolidQueue::Record.establish_connection(adapter: "sqlite3", database: File.join(@directory, "queue.sqlite3"), timeout: 5000)
      ActiveRecord::Base.transaction do
        ActiveJobJobs::Fine.perform_later
        raise ActiveRecord::Rollback
      end
      assert_equal 1, flushed.size
    ensure
      SolidQueue::Record.remove_connection
    end

    def test_a_mistake_in_after_commit_costs_no_transaction
      Jobtide.sites.fetch("after_commit").fault = -> { raise NotImplementedError, "a mistake" }
      ActiveJobJobs.on(SolidQueueAdapter.new)
      SolidQueue::Record.transaction { ActiveJobJobs::Fine.perform_later }
      assert_equal 1, SolidQueue::Job.count
      assert_empty flushed
    end

    Jobtide.sites.keys.grep(/\Asolid_queue\./).each do |name|
      define_method("test_a_mistake_in_#{name}_reaches_nobody") do
        site = Jobtide.sites.fetch(name)
        hits = 0
        site.fault = -> { (hits += 1) && raise(NotImplementedError, "a mistake") }
        start(@worker)
        SolidQueue.stop.each { |hook| hook.call(@worker) }
        SolidQueue.fail_many_claimed([1], RuntimeError.new("x"))
        eventually("the site") { hits.positive? }
      end
    end
  end
end
